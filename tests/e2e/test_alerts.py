"""People are told of what goes wrong: once, by the right receiver, until it is over, and though the operator dies."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from tests.cluster import engine
from tests.support import alertmanager
from tests.support.counts import PROOF, Figures, count
from tests.support.killer import Killer, kill_leader
from tests.support.kube import KubectlError, Object, wait_until
from tests.support.ports import server_port
from tests.support.recorder import Recorder, recording
from tests.support.release import Release
from tests.support.shop_manifests import LIVE_CHECK, READY_CHECK, deployment, resilient, service, shop
from tests.support.space import Space

PACE = {"groupWait": "3s", "groupInterval": "2s"}
HANG = "open('/tmp/bad', 'w')"
MEND = "import os; os.unlink('/tmp/bad')"


@pytest.fixture(scope="module")
def hooks() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture(autouse=True)
def well(hooks: Recorder) -> None:
    """Nothing of the test before."""
    hooks.statuses.clear()
    hooks.posts.clear()


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two Alertmanagers that do not know each other."""
    with (
        alertmanager.running(tmp_path_factory.mktemp("one"), listen="0.0.0.0") as one,
        alertmanager.running(tmp_path_factory.mktemp("two"), listen="0.0.0.0") as two,
    ):
        yield [one, two]


class Inbox(Message):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@pytest.fixture(scope="module")
def inbox() -> Iterator[tuple[Inbox, int]]:
    """A mail server."""
    inbox, port = Inbox(), server_port()
    controller = Controller(inbox, hostname="0.0.0.0", port=port, ready_timeout=20)
    controller.start()
    yield inbox, port
    controller.stop()


def secret(**values: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    meta = {"name": "alerts", "labels": {"resilience.dev/readable": "true"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def of(key: str) -> Object:
    return {"secretKeyRef": {"name": "alerts", "key": key}}


def receiver(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "resilience.dev/v1alpha1",
        "kind": "AlertReceiver",
        "metadata": {"name": name},
        "spec": spec,
    }


def everybody(hooks: Recorder, managers: list[str], mail: int) -> list[Object]:
    """A receiver of each kind that has a server here."""
    host = engine.current().host()
    base = f"http://{host}:{hooks.port}"
    urls = [url.replace("127.0.0.1", host) for url in managers]
    return [
        secret(hook=f"{base}/hook", chat=f"{base}/chat", teams=f"{base}/teams", key="signing-key"),
        receiver("hook", webhook={"urlFrom": of("hook"), "hmacFrom": of("key")}),
        receiver("chat", slack={"urlFrom": of("chat")}),
        receiver("teams", msteams={"urlFrom": of("teams")}),
        receiver("managers", alertmanager={"urls": urls}),
        receiver(
            "mail",
            email={"host": host, "port": mail, "from": "a@shop.example", "to": ["b@shop.example"], "startTls": "Never"},
        ),
    ]


def told_to(*names: str) -> Object:
    return {"routes": [{"receiver": name, "continue": True} for name in names], **PACE}


def watched(hooks: Recorder, **spec: Any) -> list[Object]:
    """A shop with a partner that can be lost, a flag for it, and pods that can hang."""
    url = f"http://{engine.current().host()}:{hooks.port}/partner"
    partner = {"name": "partner", "scope": "Dependency", "http": {"url": url}}
    health = {"interval": "1s", "timeout": "900ms", "checks": [READY_CHECK, LIVE_CHECK, partner]}
    flag = {"name": "partner-lost", "check": "partner", "mode": "memory", "minDegraded": "1s", "successThreshold": 2}
    return [
        deployment(env={"HANG_FILE": "/tmp/bad"}),
        service(),
        resilient(health=health, degradation={"flags": [flag]}, **spec),
    ]


def firing(space: Space, name: str = "shop") -> list[str]:
    return [each["name"] for each in (space.status(name).get("alerts") or {}).get("firing") or []]


def receiver_status(space: Space, name: str) -> Object:
    found: Object = space.get("alertreceivers", name).get("status") or {}
    return found


@pytest.mark.parametrize(
    "killed",
    [False, pytest.param(True, marks=[pytest.mark.killing, pytest.mark.long])],
    ids=["undisturbed", "operator killed at every step"],
)
def test_an_incident_is_one_conversation_with_everybody(
    operator: Release,
    space: Space,
    figures: Figures,
    hooks: Recorder,
    managers: list[str],
    inbox: tuple[Inbox, int],
    killed: bool,
) -> None:
    mailbox, mail = inbox
    mailbox.mails.clear()
    space.apply(*everybody(hooks, managers, mail))
    alerts = told_to("hook", "chat", "teams", "managers", "mail")
    space.start(*watched(hooks, alerts={**alerts, "suppressFor": "15s"}))
    (pod,) = space.shop_pods()
    name = pod["metadata"]["name"]
    for number in range(count(1, proof=5)):
        if number:
            # What comes back before that would be counted, not told.
            wait_until(lambda: remembered(space) == [], what="that all of it is forgotten", timeout=60)
        hooks.posts.clear()
        mailbox.mails.clear()
        with Killer(space) as killer:

            def step(killer: Killer = killer, *, is_corner: bool = True) -> None:
                """The leader dies here: at full counts everywhere, else between what happens and the message."""
                if killed and (PROOF or is_corner):
                    operator.renew(kill_leader(operator, killer))

            # when the partner is lost
            hooks.statuses["/partner"] = 503
            step()
            wait_until(lambda: told_at_all(hooks, mailbox) >= 1, what="the beginning", timeout=90)
            step(is_corner=False)
            # and it gets worse
            space.inside(name, HANG)
            step()
            wait_until(lambda: "escalated" in hooks.kinds("/hook"), what="that it is worse", timeout=90)
            wait_until(lambda: told_at_all(hooks, mailbox) >= 2, what="that all know", timeout=90)
            step(is_corner=False)
            wait_until(lambda: all(critical(url) for url in managers), what="both Alertmanagers", timeout=90)
            # and is over
            space.inside(name, MEND)
            # Else the pod's own trouble, which nothing covers any more, may be told for the second that it lasts.
            wait_until(lambda: firing(space) == ["DependencyLost"], what="the pod to be well", timeout=60)
            hooks.statuses.clear()
            step()
            wait_until(lambda: hooks.kinds("/hook")[-1:] == ["ended"], what="the end", timeout=120)
            step(is_corner=False)
        wait_until(lambda: not any(alertmanager.alerts(url) for url in managers), what="an end", timeout=90)
        wait_until(lambda: open_conversations(space) == [], what="no open conversation", timeout=60)
        # then: one conversation, told as it went; what follows from the loss is not told besides
        kinds = hooks.kinds("/hook")
        assert kinds[0] == "opened" and kinds.count("opened") == kinds.count("escalated") == kinds.count("ended") == 1
        keys = {each.body["groupKey"] for each in hooks.to("/hook")}
        assert len(keys) == 1, keys
        told = {alert["labels"]["alertname"] for each in hooks.to("/hook") for alert in each.body["alerts"]}
        assert told == {"DependencyLost"}
        subjects = [str(each["Message-ID"]).strip() for each in mailbox.mails]
        assert len({each["In-Reply-To"] for each in mailbox.mails if each["In-Reply-To"]}) == 1
        assert "Over:" in hooks.to("/chat")[-1].body["text"]
        repeats = len(hooks.to("/hook")) - len(kinds)
        figures.write(
            killed=killed,
            messages=len(kinds),
            told_twice_under_one_name=repeats,
            mails=len(set(subjects)),
            chat=len(hooks.to("/chat")),
            cards=len(hooks.to("/teams")),
        )
        if not killed:
            assert repeats == 0
            assert len(hooks.to("/chat")) == len(hooks.to("/teams")) == len(kinds) == len(subjects)


def told_at_all(hooks: Recorder, mailbox: Inbox) -> int:
    """How many messages everybody has at least: each receiver is told at its own pace."""
    return min(len(hooks.to("/hook")), len(hooks.to("/chat")), len(hooks.to("/teams")), len(mailbox.mails))


def critical(url: str) -> bool:
    found = [each["labels"] for each in alertmanager.alerts(url) if each["labels"]["namespace"]]
    return any(each["alertname"] == "DependencyLost" and each["severity"] == "critical" for each in found)


def remembered(space: Space) -> list[str]:
    found = space.list("alertreceivers")
    return [each["metadata"]["name"] for each in found if (each.get("status") or {}).get("conversations")]


def open_conversations(space: Space) -> list[str]:
    found = space.list("alertreceivers")
    return [each["metadata"]["name"] for each in found if (each.get("status") or {}).get("summary", "0") != "0"]


def test_one_dependency_lost_by_many_services_is_one_page(
    operator: Release, space: Space, figures: Figures, hooks: Recorder
) -> None:
    services = count(10, proof=30)
    host = engine.current().host()
    space.apply(secret(hook=f"http://{host}:{hooks.port}/hook"), receiver("hook", webhook={"urlFrom": of("hook")}))
    partner = {"name": "partner", "scope": "Dependency", "http": {"url": f"http://{host}:{hooks.port}/partner"}}
    health = {"interval": "1s", "timeout": "900ms", "checks": [partner]}
    names = [f"shop-{number}" for number in range(services)]
    made = [
        each
        for name in names
        for each in (
            deployment(name, replicas=0),
            resilient(
                name,
                service=None,
                verify=None,
                health=health,
                alerts={"defaultReceiver": "hook", "groupWait": "3s"},
            ),
        )
    ]
    space.apply(*made)
    for name in names:
        space.wait_for("Healthy", "True", name, timeout=60)
    hooks.statuses["/partner"] = 503
    wait_until(lambda: all(firing(space, name) for name in names), what="every service to say so", timeout=90)
    wait_until(lambda: told_services(hooks) == services, what="all of them to be named", timeout=90)
    hooks.statuses.clear()
    wait_until(lambda: hooks.kinds("/hook")[-1:] == ["ended"], what="the end", timeout=120)
    kinds = hooks.kinds("/hook")
    figures.write(
        services=services, conversations=len({each.body["groupKey"] for each in hooks.to("/hook")}), told=kinds
    )
    assert kinds.count("opened") == kinds.count("ended") == 1
    assert len({each.body["groupKey"] for each in hooks.to("/hook")}) == 1
    assert len(kinds) <= 4


def told_services(hooks: Recorder) -> int:
    last = hooks.to("/hook")[-1:]
    return len({alert["labels"]["service"] for each in last for alert in each.body["alerts"]})


def test_what_cannot_be_told_is_said_and_told_elsewhere(operator: Release, space: Space, hooks: Recorder) -> None:
    host = engine.current().host()
    base = f"http://{host}:{hooks.port}"
    space.apply(
        secret(hook=f"{base}/gone", other=f"{base}/other"),
        receiver("team", webhook={"urlFrom": of("hook")}, fallback="other"),
        receiver("other", webhook={"urlFrom": of("other")}),
    )
    hooks.statuses["/gone"] = 404
    space.start(*watched(hooks, alerts={"defaultReceiver": "team", **PACE}))
    hooks.statuses["/partner"] = 503
    # then: others are told instead, and everybody who looks can see why
    wait_until(lambda: hooks.kinds("/other") == ["opened"], what="the fallback to be told", timeout=60)
    said = space.wait_for("AlertsDelivered", "False", reason="ReceiverRefuses")
    assert "it answered 404" in said["message"]
    assert "Alerts: team" in space.status()["explanation"]
    row = space.kubectl("get", "arcv", "team")
    assert "ReceiverRefuses" in row
    assert [each["alert"].split("/")[2] for each in receiver_status(space, "team")["deadLetters"]] == ["DependencyLost"]
    wait_until(
        lambda: any(each in space.kubectl("get", "events") for each in ("NotDelivered", "ReceiverRefuses")),
        what="an Event",
    )
    # when somebody mends it, and asks
    hooks.statuses.pop("/gone")
    space.kubectl("annotate", "arcv", "team", "--overwrite", "resilience.dev/replay-requested-at=1")
    wait_until(lambda: hooks.kinds("/gone") == ["opened"], what="it to be told after all", timeout=30)
    wait_until(lambda: hooks.kinds("/other")[-1:] == ["ended"], what="the fallback to be let go", timeout=30)
    space.wait_for("AlertsDelivered", "True", timeout=30)


def test_who_would_be_told_and_a_test_that_is_told(operator: Release, space: Space, hooks: Recorder) -> None:
    host = engine.current().host()
    space.apply(secret(hook=f"http://{host}:{hooks.port}/hook"), receiver("hook", webhook={"urlFrom": of("hook")}))
    routes = [
        {"matchers": ['severity="critical"', 'check=~"db|cache"'], "receiver": "oncall"},
        {"matchers": ['severity="info"'], "receiver": "hook"},
    ]
    space.apply(*shop(alerts={"routes": routes, "defaultReceiver": "hook"}))
    space.wait_running()
    # a receiver that is not there is said
    said = space.wait_for("AlertsDelivered", "False", reason="ReceiverNotFound")
    assert "there is no AlertReceiver" in said["message"]
    # whom it would go to
    asked = 'resilience.dev/explain-alert=alertname="DependencyLost", check="db"'
    space.kubectl("annotate", "rsvc", "shop", "--overwrite", asked)
    note = wait_until(lambda: space.handled("explain-alert").get("note"), what="an answer", timeout=20)
    assert "goes to oncall: route 1 matches" in note
    # a test
    space.kubectl("annotate", "arcv", "hook", "--overwrite", "resilience.dev/test-requested-at=1")
    wait_until(lambda: hooks.kinds("/hook") == ["test"], what="the test", timeout=20)
    handled = wait_until(lambda: receiver_status(space, "hook").get("handled") or None, what="its result", timeout=20)
    assert handled[0]["note"] == "delivered"
    assert "True" in space.kubectl("get", "arcv", "hook")


BROKEN_RECEIVERS: dict[str, tuple[Object, str]] = {
    "no kind": ({}, "exactly one kind"),
    "two kinds": ({"webhook": {"urlFrom": of("a")}, "msteams": {"urlFrom": of("a")}}, "exactly one kind"),
    "slack with both": ({"slack": {"urlFrom": of("a"), "tokenFrom": of("b")}}, "either urlFrom"),
    "a bot without a channel": ({"slack": {"tokenFrom": of("a")}}, "slack.tokenFrom needs slack.channel"),
    "no alertmanager": ({"alertmanager": {}}, "either a service or urls"),
    "two ways to log in": (
        {
            "webhook": {
                "urlFrom": of("a"),
                "basicAuthFrom": of("b"),
                "oauth2": {"tokenUrl": "https://a", "clientId": "b", "clientSecretFrom": of("c")},
            }
        },
        "set basicAuthFrom or oauth2, not both",
    ),
    "a proxy before a Service": ({"alertmanager": {"service": {"name": "a"}, "proxy": "Never"}}, "has no proxy"),
    "a password in the clear": (
        {"email": {"host": "a", "from": "a@b", "to": ["a@b"], "authFrom": of("a"), "startTls": "Never"}},
        "would send a password in the clear",
    ),
    "a long time-out": ({"webhook": {"urlFrom": of("a")}, "timeout": "2m"}, "timeout must be at most 1m"),
    "a url in the open": ({"webhook": {"url": "https://secret"}}, "unknown field"),
}


@pytest.mark.parametrize("case", BROKEN_RECEIVERS)
def test_a_broken_receiver_is_refused_with_what_to_do(operator: Release, space: Space, case: str) -> None:
    spec, words = BROKEN_RECEIVERS[case]
    with pytest.raises(KubectlError, match=words):
        space.kubectl("apply", "-f", "-", stdin=json.dumps(receiver("broken", **spec)))


def test_a_secret_that_is_not_labelled_is_not_read(operator: Release, space: Space, hooks: Recorder) -> None:
    closed = secret(hook="http://example.com/")
    closed["metadata"].pop("labels")
    space.apply(closed, receiver("hook", webhook={"urlFrom": of("hook")}))
    space.kubectl("annotate", "arcv", "hook", "resilience.dev/test-requested-at=1")
    handled = wait_until(lambda: receiver_status(space, "hook").get("handled") or None, what="its result", timeout=20)
    assert "kubectl label secret alerts resilience.dev/readable=true" in handled[0]["note"]
