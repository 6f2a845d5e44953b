"""The audit chain recomputed from its description alone, from both exports.

Shares nothing with the program: hashes are SHA-256 over the previous hash's 32 bytes and the RFC
8785 form of the event. For what an event holds (strings, whole numbers, booleans, null), that form
is sorted keys without blanks; keys sort by UTF-16 code units.
"""

import csv
import hashlib
import io
import json

import pytest

COLUMNS = (
    "seq,id,event,at,actor_type,actor_id,agent_id,token_id,policy_id,request_id,"
    "prev_hash,hash,event_json"
).split(",")


def canonical(value):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        inner = ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys)
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    assert not isinstance(value, float), "numbers are whole"
    return json.dumps(value, ensure_ascii=False)


def recompute(events):
    """Checks a whole chain; the hash of its last event."""
    previous = "0" * 64
    for position, event in enumerate(events, start=1):
        bare = {key: value for key, value in event.items() if key not in ("hash", "prev_hash")}
        assert bare["seq"] == position
        assert event["prev_hash"] == previous
        text = canonical(bare).encode()
        previous = hashlib.sha256(bytes.fromhex(previous) + text).hexdigest()
        assert event["hash"] == previous, f"event {position}"
    return previous


@pytest.fixture(scope="module")
def history(node):
    """Some events, with text that is awkward to encode."""
    for name in ("plain", '=HYPERLINK("x")', "שלום, \"quoted\", ümläut 😀", "a,b;c\\d"):
        agent = node.agent(name=name, metadata={"z": "1", "ä": "=2", "😀": "3"})
        token = node.token(agent["id"], intent=name)
        node.post("/v1/tokens/revoke", {"token": token["token"]}, 200)
    node.call("DELETE", f"/v1/agents/{agent['id']}")
    return node


def test_the_json_export_recomputes(history):
    events = history.call("GET", "/v1/audit/export?format=json").json()
    names = {event["event"] for event in events}
    assert {"agent.created", "token.issued", "token.revoked", "agent.revoked"} <= names
    head = recompute(events)
    verified = history.call("GET", "/v1/audit/verify").json()
    assert (verified["ok"], verified["head_hash"]) == (True, head)


def test_the_csv_export_recomputes_and_says_the_same(history):
    text = history.call("GET", "/v1/audit/export?format=csv").content.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == COLUMNS
    events = []
    for row in rows:
        bare = json.loads(row["event_json"])
        assert canonical(bare) == row["event_json"]
        assert str(bare["seq"]) == row["seq"] and bare["event"] == row["event"]
        events.append(bare | {"prev_hash": row["prev_hash"], "hash": row["hash"]})
    recompute(events)
    assert events == history.call("GET", "/v1/audit/export").json()


def test_one_changed_byte_is_found(history):
    events = history.call("GET", "/v1/audit/export").json()
    events[2]["request_id"] += "x"
    with pytest.raises(AssertionError, match="event 3"):
        recompute(events)
