"""Cuts demo/data/conversations.jsonl from the SWE-agent trajectories.

    python scripts/make_demo_data.py swe_agent_trajectories.jsonl

One JSON object a line: {"id", "messages"}, OpenAI messages that end with an assistant turn. Needs only Python 3.9.
The excerpt is made once and kept in the repository; this script documents how.
"""

import json
import re
import sys
from pathlib import Path

# At most this many assistant turns each: 12 turns show the cache at work, and 16 conversations stay under 400 KB.
TURNS = 12
# A conversation with one message longer than this would be mostly that one file listing.
LONGEST_MESSAGE = 12_000
# The last three share both system prompt and task with earlier ones; two such pairs are enough.
CONVERSATIONS = 16


# Commit logs in the recordings name people; the demo has no use for their addresses.
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.(?:com|org|net|io)\b")


def openai_message(message):
    """`tool_call_ids` is SWE-agent's own; OpenAI's field is `tool_call_id`."""
    ids = message.get("tool_call_ids")
    kept = {key: value for key, value in message.items() if key != "tool_call_ids"}
    if ids:
        kept["tool_call_id"] = ids[0]
    if kept["content"]:
        kept["content"] = EMAIL.sub("user@example.com", kept["content"])
    return kept


def excerpt(messages):
    """The longest start that ends with an assistant turn and has at most TURNS of them."""
    turns, end = 0, 0
    for at, message in enumerate(messages):
        if message["role"] == "assistant":
            turns, end = turns + 1, at + 1
            if turns == TURNS:
                break
    return [openai_message(message) for message in messages[:end]]


def main():
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    out = Path(__file__).resolve().parent.parent / "demo" / "data" / "conversations.jsonl"
    lines = []
    for row in rows:
        messages = excerpt(row["messages"])
        if len(lines) < CONVERSATIONS and all(len(m["content"] or "") <= LONGEST_MESSAGE for m in messages):
            name = row["id"].removesuffix(".traj")
            lines.append(json.dumps({"id": name, "messages": messages}, ensure_ascii=False))
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(lines)} conversations, {out.stat().st_size} bytes\n")


main()
