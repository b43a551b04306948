"""Server-sent events, cut anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tale.wire.event_stream import EventStream

_DATA = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")).map(str.encode),
    max_size=5,
)


@given(_DATA, st.sampled_from([b"\n", b"\r\n"]), st.data())
def test_events_are_the_same_wherever_the_stream_is_cut(
    events: list[bytes], end: bytes, data: st.DataObject
) -> None:
    whole = b"".join(
        b": ping" + end + end + b"event: message" + end + b"data: " + one + end + end
        for one in events
    )
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8).map(sorted))
    stream = EventStream()
    seen: list[bytes] = []
    for begin, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        seen += stream.feed(whole[begin:stop])
    assert seen == events


def test_data_of_several_lines_is_one_event() -> None:
    assert list(EventStream().feed(b"data: a\ndata:b\n\n")) == [b"a\nb"]
