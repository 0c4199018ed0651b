"""Delivers to Slack: a webhook posts every message anew; with a bot's token one message per conversation is edited.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, https://docs.slack.dev/reference/methods/chat.postMessage.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http_wire import Answer
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.post import JSON, Poster
from resilience.adapters.receivers.wording import Origin
from resilience.api.receivers import SlackReceiver
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret
from resilience.core.model.observation import Key
from resilience.ports import DeliveryFailed, Receipt

API: Final = "https://slack.com/api"
# Limits of blocks: their number, and the length of a section's text.
BLOCKS: Final = 50
TEXT: Final = 3000
_HEADER: Final = 150
# Errors that concern one message only.
_OF_MESSAGE: Final = {
    "invalid_blocks": "it does not accept the message",
    "invalid_arguments": "it does not accept the message",
    "no_text": "it does not accept the message",
    "msg_too_long": "the message is too long for it",
}
# Errors that a person has to fix; all others are retried.
_PERMANENT: Final = {
    "invalid_auth": "the token is not valid: check the Secret",
    "not_authed": "there is no token: check the Secret",
    "account_inactive": "the bot was removed: check the Secret",
    "token_revoked": "the token was revoked: put a new one into the Secret",
    "token_expired": "the token has expired: put a new one into the Secret",
    "missing_scope": "the bot needs the scope chat:write",
    "channel_not_found": "there is no such channel: check slack.channel",
    "not_in_channel": "the bot is not in the channel: invite it",
    "is_archived": "the channel is archived: choose another one in slack.channel",
    "not_allowed_token_type": "it has to be a bot's token (xoxb-): check the Secret",
    "access_denied": "the bot may not write there: ask an administrator of the workspace",
    "no_permission": "the bot may not write there: ask an administrator of the workspace",
    "restricted_action": "the channel accepts no messages from bots: ask an administrator of the workspace",
    **_OF_MESSAGE,
}
# Errors of an edit after which the message may still be posted anew, possibly in another channel.
_GONE: Final = frozenset(
    {
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "is_inactive",
        "is_archived",
        "channel_not_found",
        "not_in_channel",
    }
)


@dataclass(frozen=True, slots=True)
class Slack:
    """Posts and edits messages. `api`: base URL of the API's methods."""

    poster: Poster
    credentials: Credentials
    origin: Origin
    api: str = API

    async def deliver(
        self, spec: SlackReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed. With a token the receipt locates the message, so that it can be edited."""
        body = {"text": wording.headline(message, self.origin)[:TEXT], "blocks": blocks(message, self.origin)}
        if spec.url_from is not None:
            url = await self.credentials.value(secret(spec.url_from, key.namespace), fresh=fresh)
            await self.poster.post(url, json.dumps(body).encode(), timeout=timeout, proxy=spec.proxy)
            return Receipt()
        token = await self.credentials.value(secret(spec.token_from, key.namespace), fresh=fresh)
        wanted = spec.channel or ""
        channel, at, chosen = [*message.handle.split(" "), "", ""][:3]
        if at and chosen == wanted:
            try:
                await self._call("chat.update", spec, token, {**body, "channel": channel, "ts": at}, timeout)
                return Receipt(message.handle)
            except _Gone:
                # Somebody deleted the message or its channel: post it anew.
                pass
        posted = await self._call("chat.postMessage", spec, token, {**body, "channel": wanted}, timeout)
        return Receipt(f"{posted} {wanted}" if posted else "")

    async def _call(
        self, method: str, spec: SlackReceiver, token: str, body: dict[str, Any], timeout: timedelta
    ) -> str:
        headers = [JSON, ("Authorization", f"Bearer {token.strip()}")]
        answer = await self.poster.post(
            f"{self.api}/{method}", json.dumps(body).encode(), timeout=timeout, headers=headers, proxy=spec.proxy
        )
        return _handle(answer, editing=method == "chat.update")


class _Gone(Exception):
    """The message to edit does not exist, or can no longer be edited."""


def _handle(answer: Answer, *, editing: bool) -> str:
    """Location of the message: channel and timestamp. Slack reports errors in a body with the status 200."""
    try:
        response = json.loads(answer.body)
        is_ok, error = bool(response.get("ok")), str(response.get("error", ""))
    except (ValueError, AttributeError) as broken:
        raise DeliveryFailed(DeliveryFailure("what answered is not Slack's API")) from broken
    if is_ok:
        return f"{response.get('channel', '')} {response.get('ts', '')}".strip()
    if editing and error in _GONE:
        raise _Gone
    hint = _PERMANENT.get(error)
    known = f"Slack says {error}" if error.replace("_", "").isalnum() and len(error) < 64 else "Slack refuses it"
    words = f"{known}: {hint}" if hint else known
    raise DeliveryFailed(DeliveryFailure(words, permanent=hint is not None, of_message=error in _OF_MESSAGE))


def blocks(message: Message, origin: Origin) -> list[dict[str, Any]]:
    """The message as blocks, within Slack's limits."""
    title = {"type": "plain_text", "text": wording.headline(message, origin)[:_HEADER], "emoji": True}
    parts: list[dict[str, Any]] = [{"type": "header", "text": title}]
    for line in wording.lines(message, origin):
        text = f"{line.sign} *{escape(line.head)}*\n{escape(line.text)}\n_To do:_ {escape(line.action)}"
        links = [f"<{url}|{name}>" for url, name in ((line.runbook, "Runbook"), (line.dashboard, "Dashboard")) if url]
        parts.append(_section("\n".join([text, " · ".join(links)]) if links else text))
    rest = wording.rest(message)
    if rest:
        elements = [{"type": "mrkdwn", "text": escape("\n".join(rest))[:TEXT]}]
        parts.append({"type": "context", "elements": elements})
    return parts[:BLOCKS]


def escape(text: str) -> str:
    """Text with markup escaped: output of a check must not mention people or hide where a link leads."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:TEXT]}}
