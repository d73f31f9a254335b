"""What goes wrong on the way: ladder, open fates, search and adoption, dead letters (scenarios 15 to 19, 22, 23, 33 to 35)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.notify import operator
from fillbook.notify.model import Answer, Operation, Request
from fillbook.runtime.sql import statement
from tests.support.notify_desk import NotifyDesk, executed, speaker_for

MakeDesk = Callable[..., NotifyDesk]


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


@dataclass
class Dying:
    """A speaker whose process dies right after Discord accepted (or before the request left)."""

    inner: Any
    after: bool = True
    deaths: int = 1
    sent: list[Request] = field(default_factory=list)

    @property
    def can_read(self) -> bool:
        return bool(self.inner.can_read)

    def send(self, request: Request) -> Answer:
        if request.operation in (Operation.CREATE, Operation.EDIT) and self.deaths:
            self.deaths -= 1
            if self.after:
                self.inner.send(request)
            raise Killed
        answer: Answer = self.inner.send(request)
        return answer


def killed_while_sending(desk: NotifyDesk, *, after: bool = True) -> None:
    living = desk.speaker
    desk.speaker = Dying(living, after=after)  # type: ignore[assignment]
    with pytest.raises(Killed):
        desk.drain()
    desk.speaker = living
    desk.lose_lease()


def creates(desk: NotifyDesk) -> list[datetime]:
    return [datetime.fromisoformat(one["at"]) for one in desk.requests("create")]


def test_15_the_ladder_is_followed_and_the_fourth_try_is_told(desk: NotifyDesk) -> None:
    for knob in ("500", "502", "503"):
        desk.discord.fault(f"server_error.{knob}", route="create")
    desk.tell(executed(), allowance=300)
    first, second, third, fourth = creates(desk)
    assert (second - first, third - second, fourth - third) == (
        timedelta(seconds=5), timedelta(seconds=30), timedelta(seconds=120),
    )  # fmt: skip
    assert len(desk.posts()) == 1


def test_15_a_copy_made_by_a_failing_answer_is_adopted_before_the_next_try(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.502", route="create", applied=True)
    desk.tell(executed(), allowance=60)
    assert len(desk.posts()) == 1
    assert desk.message()["message_id"] == desk.posts()[0]["id"]
    assert len(creates(desk)) == 1


def test_15_without_a_read_token_the_copy_stays_on_the_double_search_list(make_desk: MakeDesk) -> None:
    desk = make_desk(token=False)
    desk.discord.fault("server_error.502", route="create", applied=True)
    desk.tell(executed(), allowance=60)
    assert len(desk.posts()) == 2
    row = desk.message()
    assert (row["state"], row["maybe_created"], len(row["suspects"])) == ("posted", True, 1)


def test_16_failures_for_ever_end_in_a_dead_letter_that_a_replay_sends_once(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.500", route="create", count=None)
    desk.tell(executed(), allowance=40_000)
    assert len(creates(desk)) == 8
    row = desk.message()
    assert (row["state"], row["dead_reason"], row["attempts"]) == ("dead", "exhausted", 8)
    (event,) = desk.events("message_dead")
    assert event["data"]["reason"] == "exhausted"
    desk.discord.clear_faults()
    desk.relay()
    desk.drain("ops")
    assert desk.embeds("ops")[0]["title"] == "Messages not delivered: executions"
    assert len(operator.replay(desk.db, now=desk.clock.now(), reason="exhausted", dry_run=True)) == 1
    assert desk.message()["state"] == "dead"
    for _ in range(2):
        operator.replay(desk.db, now=desk.clock.now(), reason="exhausted", dry_run=False)
        desk.drain(allowance=60)
    assert len(desk.posts()) == 1


def test_17_killed_after_accept_with_a_read_token_the_message_is_adopted(desk: NotifyDesk) -> None:
    desk.push(executed())
    killed_while_sending(desk)
    desk.drain(allowance=60)
    assert len(desk.posts()) == 1
    row = desk.message()
    assert (row["state"], row["message_id"], row["maybe_created"]) == ("posted", desk.posts()[0]["id"], False)
    assert len(creates(desk)) == 1


def test_17_killed_before_the_request_left_with_a_read_token_it_is_sent_again(desk: NotifyDesk) -> None:
    desk.push(executed())
    killed_while_sending(desk, after=False)
    desk.drain(allowance=60)
    assert len(desk.posts()) == 1
    assert desk.message()["notes"] == []


def test_17_a_correction_that_arrives_while_the_fate_is_open_is_edited_in(desk: NotifyDesk) -> None:
    desk.push(executed())
    killed_while_sending(desk)
    desk.push(executed(event="execution_corrected", version=2, price="99.5", cause="revision"))
    desk.drain(allowance=60)
    (post,) = desk.posts()
    assert post["embeds"][0]["fields"][5]["value"] == "99.50"
    assert desk.message()["posted_version"] == 2


def test_17_a_digest_killed_after_accept_is_adopted_whole(desk: NotifyDesk) -> None:
    desk.push(*(executed(f"n{number}", position=f"n{number}") for number in range(12)))
    killed_while_sending(desk)
    desk.drain(allowance=120)
    assert desk.states() == {"posted": 12}
    assert len(desk.embeds()) == 12


def test_18_killed_without_a_read_token_is_resent_once_and_says_so(make_desk: MakeDesk) -> None:
    desk = make_desk(token=False)
    desk.push(executed())
    killed_while_sending(desk)
    desk.drain()
    desk.clock.step(29)
    desk.drain()
    assert len(creates(desk)) == 1
    desk.drain(allowance=2)
    assert len(desk.posts()) == 2
    assert desk.embeds()[1]["footer"]["text"].endswith("· v1 · resent")
    assert desk.message()["maybe_created"] is True


def test_18_a_second_silence_without_a_read_token_is_for_a_person(make_desk: MakeDesk) -> None:
    desk = make_desk(token=False)
    desk.push(executed())
    for _ in range(2):
        killed_while_sending(desk)
        desk.drain(allowance=0)
        desk.clock.step(31)
    assert desk.message()["dead_reason"] == "ambiguous_twice"
    desk.drain(allowance=100_000)
    assert len(creates(desk)) == 2


@pytest.mark.parametrize("body", ["invalid_json", "empty_200", "no_content", "wrong_id", "other_embed"])
def test_19_an_unusable_answer_to_a_create_is_adopted_and_never_resent(desk: NotifyDesk, body: str) -> None:
    desk.discord.fault(f"body.{body}", route="create")
    desk.tell(executed(), allowance=30)
    assert len(creates(desk)) == 1
    assert desk.message()["state"] == "posted"
    assert len(desk.posts()) == 1


@pytest.mark.parametrize("body", ["invalid_json", "empty_200", "no_content", "wrong_id", "other_embed"])
def test_19_without_a_read_token_it_stays_open_until_a_person_adopts_it(make_desk: MakeDesk, body: str) -> None:
    desk = make_desk(token=False)
    desk.discord.fault(f"body.{body}", route="create")
    desk.tell(executed(), allowance=100_000)
    row = desk.message()
    assert (row["state"], row["is_created_unknown"], len(creates(desk))) == ("ambiguous", True, 1)
    (post,) = desk.posts()
    link = f"https://discord.com/channels/1180000000000000001/{post['channel_id']}/{post['id']}"
    assert operator.adopt(desk.desk, "executions", link) == ["live/" + str(row["action_id"])]
    assert desk.message()["state"] == "posted"
    assert desk.message()["message_id"] == post["id"]


def test_19_the_later_messages_of_its_position_do_not_wait_for_an_accepted_one(make_desk: MakeDesk) -> None:
    desk = make_desk(token=False)
    desk.discord.fault("body.empty_200", route="create")
    desk.tell(executed("e"), executed("x", kind="EXIT"), allowance=5)
    assert len(desk.posts()) == 2
    assert "out of order" not in str(desk.embeds())


def test_22_a_message_that_is_gone_on_edit_is_created_again(desk: NotifyDesk) -> None:
    desk.tell(executed())
    (old,) = desk.posts()
    desk.discord.meddle("deleted", old["id"])
    desk.tell(executed(event="execution_corrected", version=2, cause="revision", price="99"), allowance=5)
    (new,) = desk.posts()
    assert new["id"] != old["id"]
    assert desk.message()["message_id"] == new["id"]
    assert desk.message()["posted_version"] == 2


def test_23_a_huge_answer_is_cut_off_and_the_message_adopted(desk: NotifyDesk) -> None:
    desk.discord.fault("network.huge", route="create", bytes=50 * 1024 * 1024)
    desk.tell(executed(), allowance=30)
    assert len(creates(desk)) == 1
    assert desk.message()["state"] == "posted"


def test_23_a_dripping_answer_is_cut_off_in_time_and_the_message_adopted(make_desk: MakeDesk) -> None:
    desk = make_desk(total_seconds=1.0)
    desk.discord.fault("network.drip", route="create", interval=0.02)
    desk.tell(executed(), allowance=30)
    assert len(creates(desk)) == 1
    assert desk.message()["state"] == "posted"


@pytest.mark.parametrize("knob", ["hang", "reset", "reset_after_accept", "hang_after_accept"])
def test_no_answer_leaves_exactly_one_message_with_a_read_token(make_desk: MakeDesk, knob: str) -> None:
    desk = make_desk(total_seconds=0.5)
    desk.discord.fault(f"network.{knob}", route="create")
    desk.tell(executed(), allowance=120)
    assert len(desk.posts()) == 1
    assert desk.message()["state"] == "posted"


def test_a_refused_connection_was_not_sent_and_follows_the_ladder(desk: NotifyDesk) -> None:
    desk.discord.refuse()
    desk.tell(executed(), allowance=1)
    row = desk.message()
    assert (row["state"], row["attempts"], row["maybe_created"]) == ("pending", 1, False)
    desk.discord.accept()
    desk.drain(allowance=10)
    assert len(desk.posts()) == 1


def test_a_silent_edit_is_simply_tried_again(desk: NotifyDesk) -> None:
    desk.tell(executed())
    desk.discord.fault("network.reset_after_accept", route="edit")
    desk.tell(executed(event="execution_corrected", version=2, cause="revision", price="99"), allowance=10)
    assert desk.message()["state"] == "posted"
    assert len(desk.requests("edit")) == 2


def test_a_rejected_body_is_dead_at_once_and_keeps_what_discord_said(desk: NotifyDesk) -> None:
    desk.push(executed())
    with desk.admin.transaction() as tx:
        tx.execute(statement("update notify.messages set wanted = jsonb_set(wanted, '{title}', to_jsonb(repeat('x', 300)))"))
    desk.drain()
    assert desk.message()["dead_reason"] == "rejected_50035"
    (attempt,) = desk.rows("select * from notify.v_delivery_log where operation = 'create'")
    assert (attempt["http_status"], attempt["discord_code"]) == (400, 50035)
    assert "title" in attempt["response_excerpt"]


def test_one_bad_embed_of_a_digest_is_found_and_the_others_are_told(desk: NotifyDesk) -> None:
    desk.push(*(executed(f"n{number}", position=f"n{number}") for number in range(12)))
    with desk.admin.transaction() as tx:
        tx.execute(
            statement(
                "update notify.messages set wanted = jsonb_set(wanted, '{title}', to_jsonb(repeat('x', 300))) "
                "where order_seq = (select min(order_seq) + 3 from notify.messages)"
            )
        )
    desk.drain(allowance=120)
    assert desk.states() == {"posted": 11, "dead": 1}


def test_35_a_retrying_entry_holds_its_position_and_others_flow(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.500", route="create", count=None)
    desk.tell(executed("e", position="p"))
    desk.discord.clear_faults()
    desk.push(executed("x", kind="EXIT", position="p"), executed("other", position="q"))
    desk.drain()
    assert [one["state"] for one in (desk.message("e"), desk.message("x"), desk.message("other"))] == [
        "pending", "pending", "posted",
    ]  # fmt: skip
    desk.drain(allowance=10)
    assert [embed["title"] for embed in desk.embeds()] == ["Entered AMD LONG", "Entered AMD LONG", "Closed AMD LONG: WIN"]


def test_35_after_ten_minutes_the_later_ones_pass_with_a_note(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.500", route="create", count=5)
    desk.push(executed("e", position="p"))
    desk.drain(allowance=400)
    desk.push(executed("x", kind="EXIT", position="p"))
    desk.drain(allowance=600)
    (embed,) = [one for one in desk.embeds() if one["title"].startswith("Closed")]
    assert embed["footer"]["text"].endswith("· out of order")
    entered = datetime.fromisoformat(desk.requests("create")[0]["at"])
    assert desk.message("x")["posted_at"] - entered >= timedelta(minutes=10)
    desk.drain(allowance=4000)
    assert desk.states() == {"posted": 2}


def test_a_refused_read_token_counts_as_none(desk: NotifyDesk) -> None:
    desk.speaker._read_token = SecretStr("x" * 40)
    desk.push(executed())
    killed_while_sending(desk)
    desk.drain(allowance=120)
    assert desk.message()["state"] == "posted"
    assert desk.embeds()[-1]["footer"]["text"].endswith("resent")
    assert desk.rows("select status from notify.channels where channel_id = 'executions'") == [{"status": "active"}]


def test_a_row_that_only_met_pauses_expires_after_two_days(desk: NotifyDesk) -> None:
    desk.discord.fault("rate_limit.normal", route="create", retry_after=49 * 3600)
    desk.tell(executed())
    desk.clock.step(49 * 3600 + 1)
    desk.drain()
    assert desk.message()["dead_reason"] == "expired"


def test_34_a_replay_of_something_posted_does_nothing(desk: NotifyDesk) -> None:
    desk.tell(executed())
    assert operator.replay(desk.db, now=desk.clock.now(), subject=desk.message()["subject_key"], dry_run=False) == []
    desk.drain()
    assert len(creates(desk)) == 1


def test_a_late_record_without_the_lease_changes_no_row_but_is_not_lost(desk: NotifyDesk) -> None:
    desk.push(executed())
    living = speaker_for(desk.discord)

    class Slow:
        can_read = False

        def send(self, request: Request) -> Answer:
            answer = living.send(request)
            if request.operation is Operation.CREATE:
                desk.lose_lease()
            return answer

    desk.speaker = Slow()  # type: ignore[assignment]
    assert desk.drain().reason == "busy"
    assert desk.message()["state"] == "sending"
    desk.speaker = living
    desk.drain(allowance=60)
    assert len(desk.posts()) == 1
    assert desk.message()["message_id"] == desk.posts()[0]["id"]


@dataclass
class Leaping:
    """A speaker on whose way the desk clock leaps, as an accelerated day's does between a claim and its acceptance."""

    inner: Any
    step: Any
    sent: list[Request] = field(default_factory=list)

    @property
    def can_read(self) -> bool:
        return bool(self.inner.can_read)

    def send(self, request: Request) -> Answer:
        if request.operation is Operation.CREATE and not self.sent:
            self.sent.append(request)
            self.step()
        answer: Answer = self.inner.send(request)
        return answer


@pytest.mark.parametrize("seconds", [60, 3600, -90 * 86400, 90 * 86400])
def test_17_a_clock_that_leaps_between_claim_and_acceptance_hides_no_message_from_the_search(
    desk: NotifyDesk, seconds: float
) -> None:
    desk.push(executed())
    desk.speaker = Leaping(desk.speaker, lambda: desk.clock.step(seconds))  # type: ignore[assignment]
    killed_while_sending(desk)
    desk.drain(allowance=120)
    assert len(desk.posts()) == 1
    assert len(creates(desk)) == 1
    assert desk.message()["message_id"] == desk.posts()[0]["id"]


@pytest.mark.parametrize("fault", ["network.reset_after_accept", "body.empty_200", "server_error.502"])
def test_17_an_answer_that_took_desk_minutes_is_searched_for_up_to_its_end(desk: NotifyDesk, fault: str) -> None:
    desk.tell(executed("first"))  # the webhook is known
    desk.discord.fault(fault, route="create", applied=True)
    desk.push(executed("second", position="q"))
    desk.speaker = Leaping(desk.speaker, lambda: desk.clock.step(600))  # type: ignore[assignment]
    desk.drain(allowance=720)
    assert len(desk.posts()) == 2
    assert desk.message("second")["state"] == "posted"
