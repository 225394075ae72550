"""What `autotrader telegram test` and `chats` say, in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SetupWords:
    """The sentences. `{setting}` is the setting at fault, `{bot}` the bot's name with its @."""

    token_missing: str
    token_refused: str
    token_good: str
    no_bot_api: str
    unreachable: str
    webhook: str
    disabled: str
    chat_missing: str
    same_chat: str
    delivered: str
    not_found_person: str
    not_found_group: str
    blocked: str
    not_started: str
    removed: str
    group_deleted: str
    user_deleted: str
    may_not_write: str
    moved: str
    itself: str
    too_fast: str
    server_trouble: str
    refused: str
    test_title: str
    test_text: str
    trade_chat: str
    error_chat: str
    both_chats: str
    over_notifier: str
    listening: str
    write_now: str
    heard: str
    heard_group: str
    heard_channel: str
    nobody: str
    put_in: str
    several: str
    other_poll: str


KOREAN = SetupWords(
    token_missing=(
        "TELEGRAM_TOKEN이 비어 있습니다. Telegram에서 @BotFather에게 /newbot을 보내 토큰을 받아 .env에 넣으세요."
    ),
    token_refused=(
        "Telegram이 TELEGRAM_TOKEN을 거부합니다({status}). @BotFather의 /mybots → API Token에서 다시 복사해 "
        "넣으세요. 토큰을 새로 만들었다면 이전 토큰은 더 이상 쓸 수 없습니다."
    ),
    token_good="토큰이 맞습니다. 봇은 {bot}입니다.",
    no_bot_api="Telegram이 아닌 응답이 왔습니다({status}). TELEGRAM_BASE_URL을 확인하세요.",
    unreachable="Telegram에 연결할 수 없습니다. 인터넷 연결, 방화벽, TELEGRAM_BASE_URL을 확인하세요. ({reason})",
    webhook=(
        "이 봇에 webhook이 걸려 있어 명령을 받을 수 없습니다. 다른 프로그램이 쓰는 봇이면 @BotFather에서 새 봇을 "
        "만드세요."
    ),
    disabled="TELEGRAM_ENABLED=false라서 이 시험 말고는 아무 알림도 가지 않습니다. 알림을 받으려면 true로 바꾸세요.",
    chat_missing=(
        "TELEGRAM_CHAT_ID가 비어 있습니다. autotrader telegram chats를 실행하고 봇에게 말을 걸면 번호가 나옵니다."
    ),
    same_chat="비어 있으므로 오류 알림도 TELEGRAM_CHAT_ID로 갑니다.",
    delivered="시험 메시지를 보냈습니다({where}, 메시지 {message}).",
    not_found_person=(
        "봇이 모르는 대화방입니다. Telegram에서 {bot}을 찾아 '시작'을 누르거나 {setting}의 번호를 고치세요. 그룹 "
        "번호는 음수입니다(슈퍼그룹은 -100으로 시작). 번호는 autotrader telegram chats로 알 수 있습니다."
    ),
    not_found_group=(
        "봇이 모르는 그룹입니다. 그룹에 {bot}을 초대하거나 {setting}의 번호를 고치세요. 번호는 autotrader "
        "telegram chats로 알 수 있습니다."
    ),
    blocked="이 사용자가 봇을 차단했습니다. Telegram에서 {bot}과의 대화를 열어 차단을 풀고 '다시 시작'을 누르세요.",
    not_started="봇은 먼저 말을 걸 수 없습니다. Telegram에서 {bot}과의 대화를 열어 '시작'을 누르세요.",
    removed="봇이 이 그룹에서 나갔거나 내보내졌습니다. {bot}을 그룹에 다시 초대하세요.",
    group_deleted="이 그룹은 삭제되었습니다. 새 그룹에 {bot}을 초대하고 {setting}을 그 번호로 바꾸세요.",
    user_deleted="이 사용자의 Telegram 계정이 삭제되었습니다. {setting}을 다른 대화방으로 바꾸세요.",
    may_not_write=(
        "봇에게 이 대화방의 글쓰기 권한이 없습니다. 그룹 설정의 권한에서 메시지 보내기를 허용하거나 봇을 "
        "관리자로 지정하세요."
    ),
    moved="그룹이 슈퍼그룹으로 바뀌어 번호가 달라졌습니다. .env에 {setting}={new}로 고치세요.",
    itself="이 번호는 봇 자신입니다. autotrader telegram chats로 대화방 번호를 찾아 {setting}에 넣으세요.",
    too_fast="짧은 시간에 너무 많이 보냈습니다. {seconds}초 뒤에 다시 시험하세요.",
    server_trouble="Telegram 서버에 문제가 있습니다({status}). 잠시 뒤에 다시 시험하세요.",
    refused="Telegram이 거부했습니다: {status} {reason!r}. {setting}을 확인하세요.",
    test_title="🔔 시험 메시지",
    test_text="autotrader telegram test가 보냈습니다. 이 대화방에는 {what} 옵니다. 아무 조치도 필요하지 않습니다.",
    trade_chat="분석·주문·수익 알림이",
    error_chat="오류와 장애 알림이",
    both_chats="모든 알림이",
    over_notifier="notifier가 이 봇의 메시지를 받고 있어, notifier가 들은 것을 보여 줍니다.",
    listening="{bot}이 {seconds}초 동안 기다립니다.",
    write_now="지금 Telegram에서 {bot}에게 아무 말이나 보내세요. 그룹이라면 봇을 초대하고 /start{bot}을 보내세요.",
    heard="개인 대화방 {chat}: {who}, 사용자 번호 {user}",
    heard_group="그룹 {chat} ({title}): {who}, 사용자 번호 {user}",
    heard_channel="채널 {chat} ({title})",
    nobody="아무도 봇에게 말을 걸지 않았습니다. {bot}이 맞는 봇인지 확인하고 다시 실행하세요.",
    put_in=".env에 넣을 값:",
    several="여러 사람이 봇에게 말을 걸었습니다. 자신의 번호만 .env에 넣으세요(docs/telegram.md).",
    other_poll="다른 프로그램이 이 봇의 메시지를 받고 있습니다. autotrader notifier를 잠시 멈추고 다시 실행하세요.",
)

ENGLISH = SetupWords(
    token_missing="TELEGRAM_TOKEN is empty. In Telegram send /newbot to @BotFather and put the token into .env.",
    token_refused=(
        "Telegram refuses TELEGRAM_TOKEN ({status}). Copy it anew from @BotFather, /mybots, API Token. Once a "
        "new one was made the old one is void."
    ),
    token_good="The token is right. The bot is {bot}.",
    no_bot_api="What answers is not Telegram ({status}). Check TELEGRAM_BASE_URL.",
    unreachable=(
        "Telegram cannot be reached. Check the internet connection, the firewall and TELEGRAM_BASE_URL. ({reason})"
    ),
    webhook=(
        "A webhook is set for this bot, so it gets no commands. If another program uses it, make a new one at "
        "@BotFather."
    ),
    disabled="TELEGRAM_ENABLED=false, so nothing but this test is sent. Set it to true to be told of anything.",
    chat_missing=(
        "TELEGRAM_CHAT_ID is empty. Run autotrader telegram chats and write to the bot: it shows the number."
    ),
    same_chat="It is empty, so errors go to TELEGRAM_CHAT_ID as well.",
    delivered="The test message has been sent ({where}, message {message}).",
    not_found_person=(
        "The bot does not know this chat. Find {bot} in Telegram and press Start, or correct {setting}. The "
        "number of a group is negative (of a supergroup it begins with -100). autotrader telegram chats shows "
        "it."
    ),
    not_found_group=(
        "The bot does not know this group. Add {bot} to it, or correct {setting}. autotrader telegram chats "
        "shows the number."
    ),
    blocked="This user has blocked the bot. Open the chat with {bot} in Telegram, unblock it and press Restart.",
    not_started="A bot cannot write first. Open the chat with {bot} in Telegram and press Start.",
    removed="The bot has left this group or was removed from it. Add {bot} again.",
    group_deleted="This group was deleted. Add {bot} to a new one and set {setting} to its number.",
    user_deleted="The Telegram account of this user was deleted. Set {setting} to another chat.",
    may_not_write=(
        "The bot may not write in this chat. Allow sending messages in the group's permissions, or make the bot "
        "an administrator."
    ),
    moved="The group has become a supergroup with another number. Set {setting}={new} in .env.",
    itself="This is the number of the bot itself. autotrader telegram chats shows the number to set {setting} to.",
    too_fast="Too much was sent in a short time. Test again in {seconds} seconds.",
    server_trouble="Telegram's server has trouble ({status}). Test again in a while.",
    refused="Telegram refuses: {status} {reason!r}. Check {setting}.",
    test_title="🔔 Test message",
    test_text="Sent by autotrader telegram test. This chat gets {what}. There is nothing to do.",
    trade_chat="analyses, orders and profit reports",
    error_chat="errors and outages",
    both_chats="everything",
    over_notifier="A notifier listens to this bot, so it is asked what it hears.",
    listening="{bot} listens for {seconds} seconds.",
    write_now="Write anything to {bot} in Telegram now. For a group, add the bot and send /start{bot} there.",
    heard="private chat {chat}: {who}, user {user}",
    heard_group="group {chat} ({title}): {who}, user {user}",
    heard_channel="channel {chat} ({title})",
    nobody="Nobody wrote to the bot. Make sure that {bot} is the right one, and try again.",
    put_in="To put into .env:",
    several="Several people wrote to the bot. Put only your own numbers into .env (docs/telegram.md).",
    other_poll=(
        "Another program receives the messages of this bot. Stop autotrader notifier for a while and try again."
    ),
)


def setup_words(language: Literal["ko", "en"]) -> SetupWords:
    """The sentences in that language."""
    return ENGLISH if language == "en" else KOREAN
