"""What people reply to calls: labelled sentences, and what must hold of any text."""

import unicodedata
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import _replies
from cloud.alerts import replies, replyenglish, replylexicon, replytext
from cloud.alerts.replies import Around, Result, Says, read
from cloud.alerts.replylexicon import Sort
from tests.examples import examples

SETS = _replies.sets()
ALL = [one for name in SETS for one in _replies.labelled(name)]
YES = [one for one in ALL[::2] if one.read().accepts]
CODES = ("4711",)


@pytest.mark.parametrize("name", SETS)
def test_no_set_has_a_false_yes(name):
    some = _replies.labelled(name)
    assert len(some) >= 100
    assert [one.text for one in some if one.read().accepts and not one.is_yes] == []


@pytest.mark.parametrize("name", SETS)
def test_what_says_something_is_understood(name):
    clear = [one for one in _replies.labelled(name) if not one.is_unclear]
    missed = [one.text for one in clear if not one.is_understood(one.read())]
    assert len(missed) <= 0.05 * len(clear), missed


def test_no_sentence_is_in_two_sets():
    texts = [(one.text, one.codes) for name in SETS[1:] for one in _replies.labelled(name)]
    assert len({*texts}) >= 0.97 * len(texts)


def test_a_no_before_a_yes_leaves_no_yes():
    before = ("不", "没", "未", "别", "没有", "还没", "不能", "not ", "don't ", "never ", "can't ")
    found = [
        word + one.text
        for one, word in product(YES, before)
        if one._replace(text=word + one.text).read().accepts
    ]
    assert found == []


def test_a_question_mark_anywhere_leaves_no_yes():
    for one, mark in product(YES, "?？❓"):
        for at in {0, len(one.text) // 2, len(one.text)}:
            text = one.text[:at] + mark + one.text[at:]
            if not one.around.sent:
                assert not one._replace(text=text).read().accepts, text


def test_what_is_not_known_leaves_no_yes():
    for one, word in product(YES, ("鑫", "家里着火", "zebra ", "😭")):
        assert not one._replace(text=f"{one.text}，{word}").read().accepts, one.text


WORDS = st.sampled_from(
    [word for words in replylexicon.ZH.values() for word in words.split()]
    + [f" {word} " for words in replyenglish.EN.values() for word in words]
    + [
        *"，。？！ \n「」【】\"'()>//-:.",
        "4711",
        "4712",
        "５5",
        "二十三",
        "23人",
        "\u0301",
        "\ud800",
    ]
)


@examples(150)
@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=12).map("".join)))
def test_every_text_has_a_meaning(text):
    reply = read(
        text, CODES, Around(("收到请回复4711",), ("王建国",), ("1", "收到"), ("9", "无法"))
    )
    assert {*reply.names} <= {*CODES}
    assert (reply.result is not None) == (reply.says is Says.RESULT)
    assert not (reply.accepts and reply.declines)
    denies = [*(replylexicon.ZH[Sort.DECLINE].split()), *replylexicon.ZH[Sort.ASK].split()]
    if reply.accepts:
        assert not any(read(f"{text}\n{word}", CODES).accepts for word in denies[:40])


@pytest.mark.parametrize(
    "part",
    [
        "收到",
        "不",
        "4711 ",
        "「",
        "【",
        '"',
        "> \n",
        "4 ",
        "a ",
        "a'",
        "一",
        "on my way ",
        "?",
        "收",
    ],
)
def test_the_work_grows_with_the_text_only(part, monkeypatch):
    """Counted in phrases that are looked up, at the length from which nothing is read."""
    count = 0
    find = replytext.Lexicon.find

    def counted(self, phrase):
        nonlocal count
        count += 1
        return find(self, phrase)

    monkeypatch.setattr(replytext.Lexicon, "find", counted)
    looked_up = []
    for length in (replies.LONGEST // 2, replies.LONGEST):
        count = 0
        read((part * length)[:length], CODES)
        looked_up.append(count)
    assert looked_up[1] <= 2 * looked_up[0] + 50
    assert looked_up[1] <= 13 * replies.LONGEST
    count = 0
    assert read(part * 100_000, CODES).says is Says.UNCLEAR
    assert count == 0


def test_half_a_text_is_not_read():
    assert not read("收到" + " " * 10 + "。" * replies.LONGEST + "去不了", CODES).accepts
    assert not read("收到" + "\u0301" * 100_000, CODES).accepts


def test_no_neutral_word_hides_a_denial():
    """赶不过来 was a yes: 不过 is "but"."""
    allowed = {
        *("没问题", "没有问题", "别打了", "不用打了", "不要打了", "别再打了", "不用再打", "别担心"),
        *("不用谢", "不客气", "无人员伤亡", "无伤亡", "无人伤亡", "无人受伤", "没有人员伤亡"),
        *("没有伤亡", "无人被困", "非常", "无一遗漏", "禁止通行", "禁行", "禁止车辆通行", "断交"),
        *(
            "已禁止通行",
            "误报",
            "设备误报",
            "莫问题",
            "没事",
            "不用催",
            "不用担心",
            "别急",
            "不耽误",
        ),
        *("不让车走", "不让车过", "不让通行", "不让过"),
    }
    taking_away = {Sort.NOT, Sort.DECLINE, Sort.CANNOT, Sort.OPEN, Sort.ASK, Sort.STOP, Sort.OFFICE}
    neutral = {
        word
        for sort, words in replylexicon.ZH.items()
        if sort not in taking_away | {Sort.FALSE_ALARM}
        for word in words.split()
    }
    assert {word for word in neutral if any(char in word for char in "不没未无非别勿莫")} <= allowed


@pytest.mark.parametrize(
    ("text", "codes", "names"),
    [
        ("4711", ["4711"], ("4711",)),
        ("４７１１", ["4711"], ("4711",)),
        ("4711 0815", ["4711", "0815"], ("4711", "0815")),
        ("4711,4711", ["4711"], ("4711",)),
        ("13847110000", ["4711"], ()),
        ("138 4711 0000", ["4711", "0000"], ()),
        ("+86-138-4711-0000", ["4711"], ()),
        ("4711厘米", ["4711"], ()),
        ("4711cm", ["4711"], ()),
        ("0019年", ["0019"], ()),
        ("1951人", ["1951"], ()),
        ("19:51", ["1951", "0019"], ()),
        ("4711号", ["4711"], ()),
        ("٤٧١١", ["4711"], ()),
        ("47114711", ["4711"], ()),
        ("4711", ["0815"], ()),
    ],
)
def test_only_a_code_that_stands_alone_names_a_call(text, codes, names):
    assert read(text, codes).names == names


def test_a_code_of_somebody_else_is_no_yes():
    reply = read("收到 0815", CODES)
    assert (reply.says, reply.strangers) == (Says.UNCLEAR, ("0815",))
    assert read("0815 去不了", CODES).says is Says.DECLINE


def test_a_thumb_counts_where_one_call_is_open():
    assert read("👍", ["4711"]).accepts
    assert not read("👍", ["4711", "4712"]).accepts
    assert not read("👍", []).accepts
    assert read("👍 4712", ["4711", "4712"]).names == ("4712",)


def test_words_of_the_config_come_first():
    around = Around(yes=("1", "jawohl", "去不了"), no=("9", "收到"))
    said = {
        text: read(text, CODES, around).says for text in ("1", "jawohl!", "去不了", "9", "收到")
    }
    yes = [text for text, one in said.items() if one is Says.ACKNOWLEDGE]
    assert yes == ["1", "jawohl!", "去不了"]
    assert said["9"] is said["收到"] is Says.DECLINE
    assert read("4711 9", CODES, around).declines
    assert not read("1 2", CODES, around).accepts
    assert not read("not 1", CODES, around).accepts


def test_our_own_words_are_not_theirs():
    sent = (
        "【值班】北门下穿道红色预警：积水约35厘米。请立即封闭道路，正在封路请回复。收到请回复4711"
    )
    for text in (sent, f"> {sent}", f"“{sent}”", f"//{sent}", sent[:-3], sent[4:]):
        assert not read(text, CODES, Around((sent,))).accepts, text
        assert not read(f"{text}\n去不了", CODES, Around((sent,))).accepts
    for text in (f"收到\n> {sent}", f"收到//{sent}", f"{sent}\n收到", f"收到“{sent}”"):
        assert read(text, CODES, Around((sent,))).accepts, text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "收到“但是我今天去不了因为我在外地出差”",
            "收到\n>去不了",
            "【但去不了】收到",
            "收到【但去不了】",
        ),
        *(
            "ok but",
            "收到，但是",
            "收到，3小时到",
            "ok, in 3 hours",
            "收到，90分钟到",
            "on my way home",
        ),
        *(
            "好人",
            "路可以",
            "知道封路了",
            "警报已关闭",
            "消息来了",
            "我们已撤离",
            "村民去",
            "来人啊",
        ),
        *("立即封路", "马上转移群众", "封路", "可以封路", "收到请回复", "确认一下", "转移0人"),
        *("警戒线已撤", "已撤警戒线", "封路结束", "可以过去", "都过去了", "12 people to evacuate"),
        *("领导来了", "12 people out of 30", "on the way out", "police are on the way"),
        *("我被拦住了", "设备已转移", "车辆已转移", "都撤了", "已撤离", "交警已撤离"),
        *("收到，我在北京", "收到，人不在", "误报，已封路", "已转移23人，还有3人", "他说“收到”"),
    ],
)
def test_in_doubt_it_is_no_yes(text):
    assert not read(text, CODES).accepts


def test_what_a_telephone_writes_under_a_message_is_nobodys_word():
    assert read("收到\n\n发自我的iPhone", CODES).accepts
    assert read("OK\nSent from my iPhone", CODES).accepts


def test_traditional_characters_have_one_simplified_one():
    for before, after in replylexicon.TRADITIONAL.items():
        assert unicodedata.category(chr(before)) == "Lo"
        assert chr(after) not in map(chr, replylexicon.TRADITIONAL)


def test_people_are_counted():
    for text, people in {
        "已转移23人": 23,
        "已转移二百零五人": 205,
        "转移3户共11人": 11,
        "已派3人前往，已转移12人": 12,
        "twenty-one people evacuated": 21,
        "人员全部转移": None,
    }.items():
        reply = read(text, CODES)
        assert (reply.result, reply.people) == (Result.EVACUATED, people), text
