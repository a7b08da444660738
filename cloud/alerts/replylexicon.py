"""The words of replies, by what they do in a sentence. Simplified characters, lower case.

`replies` takes the longest phrase that fits: "没问题" is a yes, "没" is not. A yes counts only
where every word of the text is in here: what is missing makes a text unclear, never a yes.
Therefore put a word in `FILLER` only if it changes the meaning of no sentence.
"""

from enum import Enum, auto
from typing import Final


class Sort(Enum):
    """What a phrase does. ACKNOWLEDGE: says yes; GO: says that somebody goes; SOON, NOW, DONE: when
    the work or STEP beside them is done; CLOSE and MOVE: the work itself; FACT: water and weather,
    which say nothing of what somebody does; THING: what may be the water ("it is coming");
    PLACE: where people are moved; DEVICE: what is closed and is no road; OTHERS: who comes and is
    not who replies; OPEN: it is left open; OFFICE: a machine writes; POLITE: what may stand beside
    a mere code."""

    ACKNOWLEDGE = auto()
    SIGN = auto()
    GO = auto()
    ACTING = auto()
    SOON = auto()
    STEP = auto()
    NOW = auto()
    DONE = auto()
    CLOSE = auto()
    CLOSED = auto()
    CLOSING = auto()
    MOVE = auto()
    MOVED = auto()
    MOVING = auto()
    EVERYBODY = auto()
    FALSE_ALARM = auto()
    CANNOT = auto()
    DECLINE = auto()
    NOT = auto()
    OPEN = auto()
    ASK = auto()
    STOP = auto()
    OFFICE = auto()
    FACT = auto()
    THING = auto()
    PLACE = auto()
    DEVICE = auto()
    OTHERS = auto()
    POLITE = auto()
    FILLER = auto()


ZH: Final[dict[Sort, str]] = {
    Sort.ACKNOWLEDGE: """
        收到 收到了 已收到 收悉 已收悉 已阅 好 好的 好滴 好嘞 好吧 好啦 好呀 好哒 行 行的 可以
        知道 知道了 知悉 已知悉 晓得 晓得了 明白 明白了 了解 清楚 清楚了 遵命 是的 没问题
        没有问题 保证完成 受到 收倒 收道 首到 手到 照办 已知晓 知晓 已确认 确认收到 接到 已接到
        接到通知 收到通知 得令 照做 要得 中嘞 得嘞 妥 妥了 OK了 收到哈 收到了哈""",
    Sort.SIGN: "👍 👌 🫡 ✅ ✔ ☑ 🆗 🙋 💪",
    Sort.GO: """
        立即前往 立即出发 立即处理 立即到场 立即安排 立即过去 立刻去 立刻到 立刻处理 立刻安排
        立刻过去 立刻出发 就去 就来 就到 就过去 过去看看 过去看 去看看 去看 赶去 赶往 快到了
        快到 会到 会去 会处理 动身 准备出发 我负责 马上 这就 我带人去 我带队 我派人 去一趟 赶到
        去看一下 过去看一下 去看下 去瞧瞧 负责 交给我 我包了""",
    Sort.ACTING: """
        在路上 在路上了 已在路上 已经在路上 在去的路上 去的路上 在来的路上 来的路上 已出发
        已经出发 出发了 已动身 动身了 已经动身 已到 已经到 到了 已到场 已到现场 已到达 已经到达
        到现场了 到达现场 已抵达 已经到现场 已在现场 在现场 我在现场 到位了 已到位 已经到位
        已派人 已经派人 派人去了 派了人 已派 派出 派出去 派出去了 已派出 已经派 已经派出
        派人过去了 已安排 已经安排 安排了 已经安排人 正在处理 正在处置 在处理 在处置 处理中
        处置中 正在赶往 正在赶去 正在赶 正赶往 赶往现场 在赶 在去 正在去 正去 正在前往 正前往
        前往现场 前往中 去了 已经去了 已去 已前往 正在过去 正在现场 正在设置 正在布置 正在组织
        正在安排 正在放 已组织 已带队 已集结 上路了 在值守 已上岗 还在路上 刚到 刚到现场 刚出发
        快到现场 队伍已出发 正在路上 正往现场 正在核实 正在查看 正在去的路上 已经派出去
        已经派出去了 的路上 路上了 出门了""",
    Sort.SOON: """
        马上 立即 立刻 这就 就去 会 去 尽快 赶紧 赶快 派人 安排 安排人 组织 即刻 火速 处理 处置
        出发 派人去 派人前往 派人过去 安排人员 安排人去 安排人员去 组织人员 到场 到位 落实 巡查
        查看 前往 到达 去处理 带人 带队 带人去 值守 过来 去现场 到现场 赶赴 抵达 办 派 赶到 来
        赶来 赶回 赶过去 带队去 带 出门 过去""",
    Sort.STEP: """
        处理 处置 出发 派人 派 派出 前往 到达 到场 抵达 安排 安排人 落实 动身 赶到 赶往 赶去
        赶赴 集结 组织 巡查 查看 值守 带人 带队 赶 赶来 赶过来 疏导 清障 抽水 排水 喊话 敲门
        引导 警戒 布控 看守 维持 开出来 开过去 开过来 上路 设卡 布置 出门 带 动手 开工 救援
        搜救 清理 支援 接应 赶过去""",
    Sort.NOW: """
        正在 在 正 中 进行中 开始 正往""",
    Sort.DONE: """
        已 已经 完 完了 完成 已完成 完毕 好了 了 全部 都 全都 全 起来了 放下 落下 关了 上了
        已经都 均已 均 封好 拉好 设好 摆好 放好 布置好 起来 妥当 放下来 落下来 刚 刚刚 都已
        都已经 现已""",
    Sort.CLOSE: """
        封路 封闭 封 封道 封控 封锁 警戒线 警戒带 路障 隔离墩 栏杆 道闸 交通管制 管制 禁止通行
        禁行 断交 断路 关闭 锥桶 围挡 禁止车辆通行 断行 落杆 放杆 封堵 拦路 拦截 设卡 封住 关好
        警戒""",
    Sort.CLOSED: """
        已封 已封路 已封闭 封了 封好了 封路了 已封好 封闭了 封上了 封住了 已封锁 封完了
        封闭完成 封路完成 已管制 已实行交通管制 已禁止通行 已设路障 已设置路障 警戒线拉上了
        关闭了 已关闭 已断交 拦住了 拦了 拦起来了 已拦 落杆了 已落杆 封好 封闭好 封堵好 封锁好
        拉起警戒线 封完 封严""",
    Sort.CLOSING: """
        在封路 封路中 正在管制 正在拦 封着 正在封路""",
    Sort.MOVE: """
        转移 撤离 疏散 撤出 撤走 撤 安置 转移安置 撤出来 撤到 救出 转出 劝离""",
    Sort.MOVED: """
        已转移 转移了 转移完毕 转移完成 已撤离 撤离了 撤离完毕 已疏散 疏散完毕 疏散了 撤出来了
        已撤出 撤完了 已安置 转移出来了 已救出 已撤 已转移安置 已安全转移 转移好了""",
    Sort.MOVING: """
        正在转移 正在撤离 正在疏散 在转移 在撤离 在疏散 转移中 疏散中 撤离中 正在组织转移
        正在组织撤离 正在安置""",
    Sort.EVERYBODY: "全部 全都 都 所有人 全体 全员 无一遗漏",
    Sort.FALSE_ALARM: """
        误报 误报警 是误报 属误报 系误报 确认误报 虚惊一场 现场无积水 现场没有积水 现场没积水
        现场没水 现场没有水 无积水 没有积水 没积水 没水 没有水 无水 路面是干的 路面干的
        路面干燥 路是干的 现场是干的 未见积水 未发现积水 没发现积水 没有发现积水 不存在积水
        现场正常 没有险情 无险情 无异常 没有异常 未发现异常 虚警 假警报 是误报的 误报的""",
    Sort.CANNOT: """
        过不去 进不去 到不了现场 进不了 走不通 通不过 路断了 路断 断了 桥断 桥断了 塌方 塌了
        冲断 冲垮 冲毁 中断 封不了 封不住 关不上 关不了 放不下 放不下来 拉不起 拉不起来 拉不了
        坏了 坏掉 损坏 故障 失灵 陷住 陷住了 陷车 抛锚 熄火 没油 没油了 没电 没电了 无法通行
        无法进入 无法靠近 无法封路 无法封闭 无法关闭 无法通过 无法到达 不能通行 不能通过 打不开
        锁着 没工具 没有工具 没器材 没有器材 没有警戒线 没路障 没有路障 人手不够 人手不足
        人不够 缺人 缺人手 叫不开 不肯走 不愿走 不肯撤 不配合 转移不了 撤不出来 开不过去
        走不过去 堵死 堵死了 掉沟里 绕不过去 靠近不了 上不去 下不去 封闭不了 设备坏 弄不了
        动不了 倒了""",
    Sort.DECLINE: """
        去不了 来不了 到不了 赶不到 赶不过去 赶不回 赶不回来 赶不上 去不成 走不开 抽不开身
        脱不开身 抽不出身 脱不了身 没空 没时间 没有时间 没有空 不得空 不在 不去 不来 不能去
        不能来 不能到 无法 没法 没办法 不方便 不便 来不及 忙不过来 在忙 很忙 太忙 正忙 我忙
        找别人 找其他人 找他人 另找 换人 换个人 换别人 换一个人 让别人 叫别人 请别人 联系别人
        联系其他人 通知别人 通知其他人 派别人 别人去 其他人去 另派 另请 另行安排 另安排 外地
        外省 外出 外面 出差 住院 医院 生病 病了 病假 发烧 发高烧 感冒 骨折 受伤 摔伤 请假 休假
        休息 放假 度假 旅游 值不了 产假 不值班 没值班 不当班 没当班 轮休 调休 下班 下班了 退休
        退休了 调走 调离 调岗 离职 辞职 不干了 不做了 打错 打错了 发错 发错了 发错人 找错
        找错人 错了 认错 弄错 搞错 号码错 错号 不是我 不归我 不负责 不管 不关我 我不是 不是本人
        非本人 不是他 不是她 不行 不可以 不能 拒绝 不了 国外 境外 老家 开会 会议 开车 在车上
        飞机上 高铁上 火车上 手术 隔离 喝酒 喝了酒 喝多 醉 另有任务 有事 有任务 走不了 动不了身
        脱身不了 爱莫能助 换号 换号了 已换人 人不在 联系不上 不认识 腿断 脚崴 丧事 老婆 孩子
        赶不过来 过不来 回不来 回不去 离不开 脱不开 分不开身 出不来 身体不舒服 不舒服 不当 请叫
        请找 请派 请联系 请让 去唔到 唔得 唔去 冇时间 唔喺度 不干 照顾 陪护 家里有事 已离职
        到不了位 不参加 够不着 腿脚 残疾 年纪大 老了 高烧""",
    Sort.NOT: """
        不 没 没有 未 无 非 别 勿 莫 否 休 甭 尚 还没 还没有 尚未 并未 并没 从未 不是 不要 不用
        不必 禁止 停止 取消 假 拒 缺 难 差 误 错 失 👎 ❌ 🚫 🙅 ✖ ✗ 被困 有人被困 验证码 尾号
        中奖 大奖 银行 领取 恭喜 唔 冇 谢绝 撤警戒线 撤路障 撤掉 撤除 撤销 撤围挡 撤栏杆 拆
        拆除 拆了 恢复 解除 开放 放行""",
    Sort.OPEN: """
        尽量 尽力 可能 也许 或许 大概 应该 估计 看情况 看看再说 再说 再看 再看看 再议 再联系
        试试 试一下 争取 晚点 晚些 晚上 迟点 等会 等会儿 等下 等一下 等等 待会 待会儿 一会
        一会儿 过会 过会儿 回头 稍后 稍等 稍晚 明天 明早 后天 下午 昨天 昨晚 前天 上次 刚才
        如果 要是 假如 假设 万一 除非 只要 的话 若 倘若 等雨 雨停 想 打算 准备 计划 考虑 研究
        听说 据说 他说 她说 他们 他 她 别人 有人 好像 似乎 貌似 差点 快要 需要 需 要 必须 得 该
        请 快 让 叫 帮 给我 麻烦 希望 建议 最好 有空 有时间 之前 以后 才 还 也就 只 仅 部分
        一半 剩 剩下 其余 除了 差不多 未必 不一定 不确定 说不定 不过 吧 一下 领导指示 指示
        收到一条 先 但 但是 可是 只是 然而 被""",
    Sort.ASK: """
        吗 嘛 呢 啥 谁 哪 哪里 哪儿 哪个 哪位 哪边 什么 什么时候 什么情况 什么意思 怎么 怎样
        怎么办 怎么回事 咋 为啥 为什么 为何 如何 何时 何处 何地 何人 多少 多深 多大 多高 多久
        多远 几点 几个 几人 几时 是否 是不是 请问 还是 真的假的 真假 了没 了没有 收到没
        收到没有 到没 到没有 好没 好没有 有没有 能否 可否 么 求证 求解释 问一下 想问 问下 ❓ ❔
        🤔 几 几号 啥时候""",
    Sort.STOP: """
        退订 取消订阅 别再发 别再发了 不要再发 不要再发了 勿再发 请勿再发 别发了 不要发了
        不要给我发 别给我发 别发 拒收 拉黑 屏蔽 停止发送 不要再给我发 别再给我发 停发 骚扰
        把我删除 删除我 移除我 我删除 请删除""",
    Sort.OFFICE: """
        自动回复 自动答复 自动应答 系统回复 稍后回复 稍后回电 稍后联系 稍后给您 稍后给你
        晚点回复 晚点回电 一会再和 一会回复 稍后再联系 稍后与您 稍后和您 尽快回复 尽快与您
        尽快和您 尽快联系 尽快给您 暂时无法接听 不方便接听 不便接听 不便回复 不方便回复
        不方便接电话 无法接听 正在驾驶 驾驶模式 您拨打的 您所拨打 已关机 已停机 是空号
        不在服务区 短信已成功 发送成功 发送失败 已送达 成功送达 您的消息 您的短信 您的来电
        您好我是机器人 智能助手 语音信箱 留言 请留言 漏话提醒 来电提醒 客服 免打扰 勿扰模式
        离线 不在线 回复您 给您回复 给您回电 您回电 再和您联系 再联系您 再与您联系 和您联系
        联系您 回你 回您 回复你 正在驾车 驾车中 无法回复 不能回复 您的来信 来信 您的邮件""",
    Sort.PLACE: """
        学校 安置点 避难所 高处 村委会 安全地带 广场
        家 体育馆 礼堂 祠堂 亲戚家 小学 中学 宾馆""",
    Sort.FACT: """
        水深 积水 水位 水很深 水太深 水大 雨大 雨很大 雨太大 水已退 水退了 水还在涨 在涨 还在涨
        水越来越大 涨水 雨势大 现在水深 淹了 积水较深""",
    Sort.POLITE: """
        我 本人 我是 这里是 谢谢 谢了 感谢 多谢 辛苦 辛苦了 您好 你好 领导 同志 值班室 回复
        答复 应答 编号 代码 的 啊 哈 嗯 嗯嗯 哦 编码 🙏 😊 🙂 😀 😄 💐 🌹 ☺ 🤝""",
    Sort.DEVICE: "传感器 水尺 报警 预警 警报 通知 消息 信息 短信 电话 探头 雷达 灯 系统 设备",
    Sort.OTHERS: "群众 村民 居民 住户 学生 老人 儿童 小孩 人群 车辆 行人 百姓 乡亲 老乡 乘客",
    Sort.FILLER: """
        我 我们 俺 咱 咱们 本人 我是 这里 这边 这里是 现在 目前 谢谢 谢了 感谢 多谢 辛苦 辛苦了
        您好 你好 领导 同志 主任 书记 站长 队长 组长 镇长 村长 值班室 村里 镇里 村 镇 社区 街道
        所有 现场 路 道路 路口 下穿道 下穿 隧道 地道 桥 桥下 桥洞 涵洞 河边 路面 两头 两端 两边
        两侧 南北 北口 南口 东口 西口 入口 出口 进口 北侧 南侧 东侧 西侧 双向 全线 拉 设 设置
        设了 摆 摆放 放 布设 实行 采取 措施 进行 到 的 和 与 及 并 并且 而且 且 也 就 再 把 对
        由 是 有 个 位 啊 呀 哈 啦 喔 嗷 哟 哎 呵呵 人员 人 户 共 共计 总共 合计 一共 安全 平安
        顺利 完全 全面 大约 大概需要 左右 余 多 分钟 小时 后 内 之内 以内 赶 看了 看过 核实
        已核实 经核实 核实过 查看了 检查了 检查 检查过 经检查 经查 设备误报 回复 答复 应答 编号
        代码 号码 人手 两人 队伍 别打了 不用打了 不要打了 别再打了 不用再打 别担心 放心 请放心
        不用谢 不客气 已转告 已通知 通知了 我也 无人员伤亡 无伤亡 无人伤亡 无人受伤
        没有人员伤亡 没有伤亡 无人被困 请指示 请领导放心 报告 汇报 上面 下面 里面 这 那 本 该处
        此 同时 红色 橙色 黄色 蓝色 了解情况 情况 🙏 😊 🙂 😀 😄 💐 🌹 ❤ ☺ 🤝 ✌ 非常 村委 我村
        我镇 本村 标志 警示牌 警示标志 交警 民警 出来 出去 看着 守着 有人守着 有人值守 嗯 嗯嗯
        恩 哦 噢 一定 预计 值班人员 约 联系电话 联系方式 委会 其中 实施 看 将 队员 名队员
        几分钟 马路 附近 在附近 旁边 那边 往 挨家挨户 逐户 施工队 交通 水尺坏了 水尺故障
        传感器坏了 传感器故障 探头坏了 雷达坏了 辛苦啦 值班员 网格员 消防 消防员 民兵 干部 今晚
        今天 杆 道 车 累计 为 属 经 位置 位于 我方 这儿 那儿 一起 一块 大家 同事 同事们 师傅
        老师""",
}
"""In Chinese. What the same phrase has in two sorts, it has in both."""

EN: Final[dict[Sort, tuple[str, ...]]] = {
    Sort.ACKNOWLEDGE: (
        *("ok", "okay", "okey", "k", "kk", "okk", "oki", "ok then", "roger", "roger that"),
        *("copy", "copy that", "copied", "received", "recieved", "got it", "got that"),
        *("gotcha", "ack", "acknowledge", "acknowledged", "acknowledging", "yes", "yep"),
        *("yeah", "yup", "ya", "aye", "sure", "affirmative", "affirm", "understood", "noted"),
        *("will do", "wilco", "no problem", "no prob", "np", "no worries", "alright"),
        *("confirm", "confirmed", "i confirm", "message received", "received and understood"),
        *("y", "rgr", "read you", "shou dao", "shoudao", "shou dao le", "shoudaole", "hao de"),
        *("haode", "hao", "zhidao le", "zhi dao le", "ming bai", "mingbai", "you got it"),
        *("i understand", "okie", "can do", "i can go", "i can come", "okok", "ok ok"),
        *("yes yes", "roger wilco"),
    ),
    Sort.GO: (
        *("on my way", "on our way", "omw", "on it", "i'm on it", "im on it", "going"),
        *("coming", "leaving", "heading", "heading there", "heading out", "i'll go"),
        *("i will go", "will go", "i will", "i'll", "we will", "we'll", "be there"),
        *("i'll be there", "we'll be there", "will be there", "will come", "will attend"),
        *("will handle", "handling it", "taking it", "i'll take it", "i take it", "i go"),
        *("we go", "i come", "going now", "moving out", "i'll handle it", "i've got it"),
        *("we've got it", "i have got it", "sending", "will send", "sending someone"),
        *("sending somebody", "sending a team", "sending people", "mashang", "sending my team"),
        *("sending the team", "ma shang", "ma shang dao", "mashang dao", "leave now"),
        *("going there", "coming now", "i am going", "responding", "setting off"),
        *("i'll take care of", "i'll do it", "i'll deal with it", "i'll see to it"),
        *("take care of", "i will take care of", "i got it", "will handle it", "i can do it"),
        *("i'll be right there", "be right there", "we'll take care of", "take care of it"),
        *("i'll take care of it", "see to it", "handle it", "will take care of it"),
        *("deal with it", "otw"),
    ),
    Sort.ACTING: (
        *("on the way", "on the road", "on route", "en route", "enroute", "driving there"),
        *("arrived", "just arrived", "on site", "on scene", "onsite", "at the site"),
        *("at the scene", "here now", "driving to", "walking there", "underway", "under way"),
        *("we are there", "i am there", "setting up", "putting up", "i'm there", "we're there"),
        *("working on it", "team sent", "sent a team", "sent my team", "sent people"),
        *("i have left", "i've left", "just left", "already left", "team is there"),
        *("i am at the site", "placing", "dispatched", "at the underpass", "at the bridge"),
        *("at the tunnel", "at the road", "at the barrier", "coming over now", "almost there"),
        *("on the move", "already there", "we are already there", "almost at the site"),
        *("on location", "in place", "rolling", "underway now", "on the spot"),
    ),
    Sort.SOON: ("will", "i'll", "we'll", "going to", "about to", "gonna", "shall"),
    Sort.CLOSE: ("close", "block", "shut", "seal", "tape", "cordon"),
    Sort.CLOSED: (
        *("closed", "road closed", "shut", "sealed off", "blocked off", "cordoned off"),
        *("taped off", "barriers up", "barriers are up", "barrier up", "barrier is up"),
        *("barrier is down", "barriers are down", "barriers in place", "barriers are in place"),
        *("cones out", "cones up", "cones are out", "tape up", "tape is up", "closed off"),
        *("coned off", "gates closed", "traffic stopped", "traffic is stopped", "barrier down"),
        *("has been closed", "have been closed"),
    ),
    Sort.CLOSING: ("closing", "blocking", "shutting", "sealing", "taping", "coning off"),
    Sort.MOVE: (
        *("evacuate", "move", "rescue", "moved", "relocated", "rescued", "out", "is out"),
        *("are out", "got out", "moved out", "taken out", "are safe", "left their homes"),
    ),
    Sort.MOVED: (
        *("evacuated", "all out", "brought out", "led out", "evac", "moved to safety"),
        *("safely out", "evacuation complete", "evacuation done", "evacuation completed"),
    ),
    Sort.MOVING: ("evacuating", "moving people", "relocating", "rescuing", "bringing out"),
    Sort.EVERYBODY: ("everyone", "everybody", "all people", "all residents", "all of them", "all"),
    Sort.FALSE_ALARM: (
        *("false alarm", "no water", "no water here", "no flooding", "no flood", "road is dry"),
        *("it is dry", "it's dry", "dry", "all dry", "false alert", "no standing water"),
        *("there is no water", "there's no water", "no water on the road", "sensor error"),
        *("not flooded", "isn't flooded", "nothing wrong here", "sensor fault"),
    ),
    Sort.CANNOT: (
        *("can't get through", "cannot get through", "can't get there", "cannot get there"),
        *("can't reach", "cannot reach", "can't pass", "cannot pass", "can't close"),
        *("impassable", "cannot close", "can't get past", "cannot get past", "broken", "stuck"),
        *("bridge is out", "road is out", "no way through", "washed out", "washed away"),
        *("not working", "jammed", "doesn't work", "does not work", "won't move"),
        *("unable to reach", "unable to close", "can't evacuate", "cannot evacuate"),
        *("refuse to leave", "cant get through", "cut off", "cant get there", "cant reach"),
        *("can not get through", "can not reach", "can't open", "cannot open", "broke down"),
        *("failed", "out of order", "can't access", "cannot access", "unable to get through"),
        *("unable to pass", "too deep to pass", "can not get there", "no barriers", "no tape"),
        *("no cones", "won't close", "won't open", "couldn't get through"),
        *("could not get through", "need help"),
    ),
    Sort.DECLINE: (
        *("can't", "cannot", "cant", "can not", "couldn't", "could not", "won't", "will not"),
        *("unable", "not able", "away", "sick", "ill", "unwell", "hospital", "on leave"),
        *("leave", "off duty", "off today", "day off", "off work", "holiday", "vacation"),
        *("abroad", "busy", "out of town", "wrong number", "wrong person", "wrong guy"),
        *("wrong man", "someone else", "somebody else", "another person", "anyone else"),
        *("retired", "resigned", "no longer", "not on duty", "not available", "unavailable"),
        *("not here", "not me", "not my", "not in", "nope", "nah", "negative", "decline"),
        *("declined", "refuse", "injured", "not coming", "not going", "no time", "no can do"),
        *("out of the country", "at home sick", "overseas", "in a meeting", "not possible"),
        *("impossible", "i don't work", "not in town", "far away", "not around", "no chance"),
        *("regret", "sorry no", "don't work there", "not at work", "qu bu liao", "qubuliao"),
        *("mei kong", "meikong", "bu zai", "buzai", "unfit", "covid", "quit", "not my shift"),
        *("not my job", "different number", "wrong phone", "sorry i can't"),
    ),
    Sort.NOT: (
        *("no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "without"),
        *("dont", "don't", "do not", "n", "nay", "isnt", "havent", "didnt", "hardly", "barely"),
        *("bu", "mei", "stop", "cancel", "refused", "unless", "except", "haven't", "hasn't"),
        *("wont", "wasn't", "trapped"),
    ),
    Sort.OPEN: (
        *("maybe", "perhaps", "possibly", "probably", "might", "may", "could", "would"),
        *("should", "try", "trying", "later", "soon", "tomorrow", "tonight", "yesterday", "if"),
        *("when", "after", "before", "until", "once", "see", "think", "hope", "hopefully"),
        *("depends", "need", "must", "have to", "please", "half", "partly", "only", "some"),
        *("few", "he", "she", "they", "his", "her", "their", "someone", "somebody", "heard"),
        *("said", "says", "eventually", "unsure", "guess", "suppose", "want", "wish", "like"),
        *("going up", "going down", "going on", "going out", "coming down", "coming in"),
        *("coming up", "nearly", "for them", "for him", "for her", "but", "though", "however"),
        *("although", "except that", "out of", "out here", "out there", "moved in"),
        *("closing down", "on the way out", "on the way back", "on the way home"),
        *("up and down",),
    ),
    Sort.ASK: (
        *("who", "what", "where", "when is", "why", "how", "which", "whose", "who's", "what's"),
        *("where's", "how's", "is this", "is it", "is there", "is that", "are you", "are we"),
        *("are there", "do i", "do you", "do we", "did you", "does it", "should i"),
        *("should we", "shall i", "shall we", "can i", "can you", "can we", "could you"),
        *("could i", "would you", "will you", "have you", "has anyone", "is anyone"),
        *("are they", "am i", "was it", "huh", "pardon", "is the road", "is everyone"),
        *("can someone", "can anyone", "may i", "any news", "is everybody", "did anyone"),
        *("has anybody", "is somebody", "is someone", "ok to", "eh", "does anyone", "whats"),
        *("wheres", "whos", "tell me", "when will", "when does", "when did", "when are"),
    ),
    Sort.STOP: (
        *("unsubscribe", "stop sending", "remove me", "opt out", "stop texting", "stop messaging"),
        *("do not text", "don't text", "don't contact", "do not contact", "take me off", "optout"),
        *("stop all", "no more messages", "no more texts", "don't message", "don't send"),
        *("do not send", "stop calling", "stop it", "stop this", "delete my number"),
    ),
    Sort.OFFICE: (
        *("auto reply", "autoreply", "automatic reply", "automated reply", "auto response"),
        *("autoresponse", "automatic response", "out of office", "out of the office"),
        *("automated response", "automated message", "i'm driving", "i am driving"),
        *("im driving", "driving right now", "while driving", "call you back"),
        *("call you later", "get back to you", "can't talk", "cannot talk"),
        *("can't talk right now", "cant talk", "text you later", "do not disturb"),
        *("your message has", "your message was", "message delivered", "stat", "dlvrd"),
        *("delivrd", "undeliv", "delivered to", "will be answered", "will reply"),
        *("reply as soon as", "thank you for your message", "thanks for your message"),
        *("voicemail", "thank you for contacting", "thanks for contacting", "mailbox"),
        *("undeliverable", "delivery report", "delivery status", "not monitored"),
        *("do not reply", "reply soon", "i'll reply", "respond as soon as", "limited access"),
        *("message sent", "thank you for your email", "notifications silenced"),
        *("i have received your",),
    ),
    Sort.FACT: (*("water", "deep", "rain", "raining", "heavy", "flooded", "rising", "depth"),),
    Sort.THING: ("it", "it's", "its", "this", "that"),
    Sort.PLACE: ("school", "shelter", "hall", "home", "church", "gym", "hotel"),
    Sort.POLITE: (
        *("thanks", "thank you", "thank u", "thx", "ty", "cheers", "sir", "madam", "hi", "hello"),
        *("code", "this is", "here", "from", "my", "is", "the"),
    ),
    Sort.DEVICE: (
        "sensor",
        "message",
        "warning",
        "alert",
        "alarm",
        "call",
        "case",
        "phone",
        "system",
    ),
    Sort.OTHERS: (
        *("people", "persons", "residents", "villagers", "families", "family", "children", "kids"),
        *("cars", "traffic", "car", "truck", "trucks", "bus"),
    ),
    Sort.FILLER: (
        *("i", "i'm", "im", "i am", "we", "we're", "we are", "am", "is", "are", "was", "were"),
        *("the", "a", "an", "to", "at", "in", "on", "of", "for", "from", "by", "with", "and"),
        *("as", "there", "here", "now", "right now", "right away", "immediately", "asap"),
        *("straight away", "thanks", "thank you", "thank u", "thx", "ty", "cheers", "sir"),
        *("madam", "hi", "hello", "my", "our", "your", "this is", "has", "have", "been"),
        *("i've", "we've", "just", "already", "and now", "team", "crew", "men", "road"),
        *("underpass", "bridge", "tunnel", "street", "both", "sides", "ends", "site", "scene"),
        *("both ends", "north", "south", "east", "west", "entrance", "min", "mins", "minute"),
        *("minutes", "hour", "hours", "about", "within", "safe", "safely", "code", "barriers"),
        *("barrier", "cones", "tape", "gate", "gates", "all", "good", "great", "well", "very"),
        *("checked", "looked", "reporting", "total", "me", "myself", "us", "up", "down"),
        *("then", "done", "complete", "out", "everything", "gone", "le", "duty officer"),
        *("copy all", "quickly", "fast", "over", "fine", "all right", "nearby", "close by"),
        *("tonight's", "both lanes", "lane", "lanes", "crew's", "firefighters", "officers"),
    ),
}
"""In English, and Chinese in Latin letters."""

TRADITIONAL: Final = str.maketrans(
    "馬時無沒來處過這裡裏車員轉離閉設線電話誤報場積現趕壞門關鎖斷開們會對請別換個間醫發燒調錯誰"
    "麼嗎幾點樣訂閱動複復郵業務擊險將應該盡當確認實達進組織號戶東頭兩從還說聽單機銀後僅邊雲圍擋"
    "攔區臺災礙橋讓幫給勞煩許較類條緊隊長領導雞於並產國內歸負責樓鄉鎮張劉陳楊趙吳孫黃淺漲勢範視"
    "頻為麽甚準備計劃論議氣體嚴難題問謝囉夠執掃觀歡圖書記須願緩聯係絡繫傷種職辭舊歲護衛滿齊輛運"
    "輸撥偉強剛軍華麗傑蘭鳳龍寶興榮輝濤凱賢慶瑩經錄續終結約級紅綠徹屬驗傳賬額獎顧鐵飛轄燈蓮紀綫"
    "縣衆陣陽陰階隨雙雜靜響頓預頒頗飯飲飽駕駛駐騎驚鬆鬥鬧魚鳥麥農違遠適遲選遺鄰鋪錢鍋鏡鐘閒闊陸"
    "隱雖靈頁順項顏風養餘館驅髒黨齡熱煙營爐爺牆狀獨獲環畫疊瘋療監盤盧眾睜礦禮禍穩窮競筆節築簡簽"
    "籃籤糧糾紙納細絕統綁維網練縮繞繼羅罰聲腦腳膽臉臨舉艙莊萬葉蓋蔣藍藝藥蘇蟲術衝裝補見規親覺訊"
    "訪訴診評詞試詳語誠談諒諸謀謂講識譯讀變豐貝財貨貴買費資賓賣質賴購贊贏趨跡踐輕載輔輪迴連週遞"
    "釋針鈴銅鋼鍵鏈閃閣際頂顆駁髮鳴鹽齒龜",
    "马时无没来处过这里里车员转离闭设线电话误报场积现赶坏门关锁断开们会对请别换个间医发烧调错谁"
    "么吗几点样订阅动复复邮业务击险将应该尽当确认实达进组织号户东头两从还说听单机银后仅边云围挡"
    "拦区台灾碍桥让帮给劳烦许较类条紧队长领导鸡于并产国内归负责楼乡镇张刘陈杨赵吴孙黄浅涨势范视"
    "频为么什准备计划论议气体严难题问谢啰够执扫观欢图书记须愿缓联系络系伤种职辞旧岁护卫满齐辆运"
    "输拨伟强刚军华丽杰兰凤龙宝兴荣辉涛凯贤庆莹经录续终结约级红绿彻属验传账额奖顾铁飞辖灯莲纪线"
    "县众阵阳阴阶随双杂静响顿预颁颇饭饮饱驾驶驻骑惊松斗闹鱼鸟麦农违远适迟选遗邻铺钱锅镜钟闲阔陆"
    "隐虽灵页顺项颜风养余馆驱脏党龄热烟营炉爷墙状独获环画叠疯疗监盘卢众睁矿礼祸稳穷竞笔节筑简签"
    "篮签粮纠纸纳细绝统绑维网练缩绕继罗罚声脑脚胆脸临举舱庄万叶盖蒋蓝艺药苏虫术冲装补见规亲觉讯"
    "访诉诊评词试详语诚谈谅诸谋谓讲识译读变丰贝财货贵买费资宾卖质赖购赞赢趋迹践轻载辅轮回连周递"
    "释针铃铜钢键链闪阁际顶颗驳发鸣盐齿龟",
)
