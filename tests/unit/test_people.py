"""Lists of contacts out of spreadsheets."""

import pytest

from cloud.alerts import people, plan
from configs import loader, tomlfile
from configs.loader import ConfigError

EXAMPLE = loader.HERE / "plans" / "example-city.toml"
HEAD = "姓名,手机,区域,职务,值班\n"


@pytest.fixture
def city(tmp_path):
    file = tmp_path / "city.toml"
    file.write_bytes(EXAMPLE.read_bytes())
    return file


@pytest.fixture
def bring(city, tmp_path):
    """Bring a list into the city's plan; gives what was merged, and all notes."""

    def bring(text: str, encoding="utf-8"):
        file = tmp_path / "people.csv"
        file.write_bytes(text.encode(encoding))
        before = plan.read(city)
        listed, notes = people.read(file, before)
        document = tomlfile.load(city)
        merged = people.merge(document, before, listed)
        tomlfile.save(city, document, plan.read, dry_run=False)
        return merged, [*notes, *merged.notes]

    return bring


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
def test_a_list_as_offices_write_it(bring, city, encoding):
    text = HEAD + "王五,138 0000 0021,上湾村,巡查员、网格员,night\n周青,13800000022,,,\n"
    text = text.replace("周青,13800000022,,,", "周青,13800000022,石桥社区第3网格,,")
    merged, notes = bring(text, encoding)
    assert (merged.added, merged.changed) == (["hekou-shangwan-1"], ["zhou-qing"])
    assert notes == ["hekou-shangwan-1: no channels given, so sms, voice"]
    after = plan.read(city)
    new = after.contact["hekou-shangwan-1"]
    assert (new.name, new.area, new.roles, new.duty) == (
        "王五",
        "hekou-shangwan",
        ("巡查员", "网格员"),
        ("night",),
    )
    assert new.address == {"phone": "+8613800000021"}
    changed = after.contact["zhou-qing"]
    assert changed.address == {"phone": "+8613800000022"}
    assert changed.roles == ("网格员",)  # what the list does not say stays


def test_comments_and_the_rest_of_the_plan_stay(bring, city):
    before = city.read_text("utf-8")
    bring(HEAD + "王五,13800000021,上湾村,,\n")
    after = city.read_text("utf-8")
    assert after.startswith(before)


def test_the_same_list_again_changes_nothing(bring, city):
    bring(HEAD + "王五,13800000021,上湾村,,\n")
    once = city.read_text("utf-8")
    merged, _ = bring(HEAD + "王五,13800000021,上湾村,,\n")
    assert (merged.added, merged.changed) == ([], [])
    assert city.read_text("utf-8") == once


def test_english_headings_semicolons_and_further_addresses(bring, city):
    bring(
        "id;name;name_en;area;role;email;language;channels;address.phone;other\n"
        "wang;王五;Wang Wu;Shangwan village;keeper, watch;w@example.org;en;email;+4930123456;x\n"
    )
    wang = plan.read(city).contact["wang"]
    assert wang.roles == ("keeper", "watch")
    assert (wang.language, wang.channels) == ("en", ("email",))
    assert wang.address == {"phone": "+4930123456", "email": "w@example.org"}


def test_all_faults_are_told_with_their_lines(bring, city):
    before = city.read_bytes()
    text = (
        HEAD
        + "王五,12345,上湾村,,\n"
        + ",13800000021,上湾存,,\n"
        + "\n"
        + "李四,,上湾村,,nite\n"
        + "赵六,,上湾村,,\n"
        + "钱七,13800000023,上湾村,,\n"
        + "钱七,13800000024,上湾村,,\n"
        + '"孙\n八",13800000025,,,\n'
    )
    with pytest.raises(ConfigError) as raised:
        bring(text)
    told = [f"{fault.key}: {fault.problem}" for fault in raised.value.faults]
    expected = [
        "line 2, phone: '12345' is not a phone number",
        "line 3, name: is missing",
        "line 3, area: '上湾存' is not an area of the plan (did you mean '上湾村'?)",
        "line 5, phone: is missing: there is no way to reach them",
        "line 5, duty: 'nite' is not in the plan (did you mean 'night'?)",
        "line 6, phone: is missing",
        "line 10, area: is missing",
        "line 8: 钱七 of hekou-shangwan stands in line 7 already",
    ]
    assert len(told) == len(expected)
    for line, words in zip(told, expected, strict=True):
        assert line.startswith(words), told
    assert city.read_bytes() == before


def test_repetitions_are_told(bring):
    merged, notes = bring(
        HEAD + "王五,13800000021,上湾村,,\n王五,13800000021,上湾村,,\n李四,13800000021,上湾村,,\n"
    )
    assert len(merged.added) == 2
    assert notes[:2] == [
        "line 3: 王五 stands in line 2 already",
        "line 4: 李四 has the phone number of 王五 (line 2)",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no column name"),
        (HEAD.encode(), "has nobody in it"),
        (b"name,phone\nx,1\n", r"has no column area \(区域"),
        (b"\xff\xfe\x00", "neither in UTF-8 nor in GB18030"),
    ],
)
def test_what_is_no_list(tmp_path, content, words):
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        people.read(file, plan.read(EXAMPLE))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("138-0000-0001", "+8613800000001"),
        ("+86 138 0000 0001", "+8613800000001"),
        ("8613800000001", "+8613800000001"),
        ("023-63850000", "+862363850000"),
        ("(010) 6385 0000", "+861063850000"),
        ("0731-8385000", "+867318385000"),
        ("+49 30 123456", "+4930123456"),
    ],
)
def test_phone_numbers(text, number):
    assert people.phone(text) == number


@pytest.mark.parametrize("text", ["", "1380000000", "23800000000", "63850000", "+0123456789", "x"])
def test_what_is_no_phone_number(text):
    with pytest.raises(ValueError, match="is not a phone number"):
        people.phone(text)
