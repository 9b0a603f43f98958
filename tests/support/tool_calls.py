"""Hypothesis strategies that generate messages with valid and broken tool calls."""

from hypothesis import strategies as st

LS = '{"name":"shell","arguments":{"command":"ls"}}'
TAGGED = st.lists(
    st.sampled_from(
        ["<tool>", "</tool>", "<tool_call>", "</tool_call>", LS, "[", "{", "x", "\n", '"', "}", "]"]
    ),
    max_size=20,
).map("".join)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "", "odd"])
RESULTED = st.lists(
    st.sampled_from(["[Tool results]", '\n<tool_result name="shell">', "</tool_result>", "x", "\n"])
).map("".join)
