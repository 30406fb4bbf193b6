"""Where results go: files, servers, shared memory, functions; see `edgecv.stream.sinks.uri`.

`make_sink` makes a sink of an address, `SinkGroup` runs several so that none holds up the stream
or the others.
"""

from edgecv.stream.sinks.callback import CallbackSink
from edgecv.stream.sinks.coco import CocoSink
from edgecv.stream.sinks.csv_file import CsvSink
from edgecv.stream.sinks.events import (
    Event,
    EventFinder,
    EventGate,
    EventPictureSink,
    EventSink,
    classes_seen,
    scene_events,
)
from edgecv.stream.sinks.group import STOP_S, SinkGroup
from edgecv.stream.sinks.images import ImageSink
from edgecv.stream.sinks.isolation import IsolatedSink, SinkReport
from edgecv.stream.sinks.jsonl import JsonlSink
from edgecv.stream.sinks.makers import Events
from edgecv.stream.sinks.per_source import PerSourceSink
from edgecv.stream.sinks.records import as_record
from edgecv.stream.sinks.segments import SegmentedVideoSink
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sinks.uri import make_sink
from edgecv.stream.sinks.video import VideoSink

__all__ = [
    "STOP_S",
    "CallbackSink",
    "CocoSink",
    "CsvSink",
    "Event",
    "EventFinder",
    "EventGate",
    "EventPictureSink",
    "EventSink",
    "Events",
    "ImageSink",
    "IsolatedSink",
    "JsonlSink",
    "PerSourceSink",
    "SegmentedVideoSink",
    "Sink",
    "SinkGroup",
    "SinkReport",
    "VideoSink",
    "as_record",
    "classes_seen",
    "make_sink",
    "scene_events",
]
