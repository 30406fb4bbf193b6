"""A kit of RTSP cameras on loopback that fail on command: /usr/bin/python3 rtsp_server.py …

    rtsp_server.py                    tells whether GStreamer has what is needed
    rtsp_server.py FILE               one camera that plays an MP4, at /cam
    rtsp_server.py --cameras 4        four cameras with a moving ball, 320x240 at 30 frames a second
    … --size 320x180 --fps 15         of another size and rate

Debian's own Python runs this, it needs python3-gi and gir1.2-gst-rtsp-server-1.0. It prints the
port of each camera as soon as all listen, and ends when its standard input does.

Commands are lines on standard input, `COMMAND CAMERA [VALUE]`, each answered with `ok` as soon as
it acts:

    drop 0            close the connections; the server goes on listening
    down 0, up 0      stop listening too, and listen again
    stall 0, resume 0 keep the connections, send no more pictures
    corrupt 0 0.001   change each byte of the encoded pictures with this probability; 0 ends it
    resize 0 640x480  change the size of the pictures in mid-stream
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # after the versions are chosen

ELEMENTS = ("qtdemux", "h264parse", "rtph264pay", "openh264enc", "breakmydata")
FILE = (
    '( filesrc location="{path}" ! qtdemux ! h264parse config-interval=1 '
    "! rtph264pay name=pay0 pt=96 )"
)
# A key frame twice a second, with its parameter sets: whoever joins sees a picture soon.
BALL = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,framerate={fps}/1 "
    "! capsfilter name=size caps=video/x-raw,width=320,height=240 "
    "! openh264enc gop-size={gop_size} bitrate=500000 complexity=low ! h264parse "
    "! breakmydata name=damage probability=0 skip=5 "
    "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Camera:
    """One server with one picture, and what can happen to it."""

    def __init__(self, launch: str, size: str) -> None:
        self.probability, self.is_stalled, self.size = 0.0, False, size
        self.media: Gst.Bin | None = None
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(launch)
        self.factory.set_shared(True)
        self.factory.connect("media-configure", self.configure)
        self.port = 0  # any free one, the first time
        self.up()

    def up(self) -> None:
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(str(self.port))
        self.server.get_mount_points().add_factory("/cam", self.factory)
        self.watch = self.server.attach(None)
        if not self.watch:
            sys.exit(f"port {self.port} is taken")
        self.port = self.server.get_bound_port()

    def configure(self, _factory: object, media: "GstRtspServer.RTSPMedia") -> None:
        """Let a new run of the pipeline be as the camera is just now."""
        self.media = media.get_element()
        pay = self.media.get_by_name("pay0")
        pay.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self.pass_or_drop)
        self.apply()

    def pass_or_drop(self, *_: object) -> "Gst.PadProbeReturn":
        return Gst.PadProbeReturn.DROP if self.is_stalled else Gst.PadProbeReturn.OK

    def apply(self) -> None:
        damage = self.media and self.media.get_by_name("damage")
        if damage:
            damage.set_property("probability", self.probability)
            width, height = self.size.split("x")
            caps = Gst.Caps.from_string(f"video/x-raw,width={width},height={height}")
            self.media.get_by_name("size").set_property("caps", caps)

    def drop(self) -> None:
        self.server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)

    def down(self) -> None:
        GLib.source_remove(self.watch)
        self.drop()

    def stall(self) -> None:
        self.is_stalled = True

    def resume(self) -> None:
        self.is_stalled = False

    def corrupt(self, probability: str) -> None:
        self.probability = float(probability)
        self.apply()

    def resize(self, size: str) -> None:
        self.size = size
        self.apply()


def obey(cameras: list[Camera], loop: GLib.MainLoop) -> bool:
    line = sys.stdin.readline()
    if not line:
        loop.quit()
        return False
    command, camera, *values = line.split()
    getattr(cameras[int(camera)], command)(*values)
    print("ok", flush=True)  # noqa: T201
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?")
    parser.add_argument("--cameras", type=int, default=0)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=30)
    arguments = parser.parse_args()
    Gst.init(None)
    missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if missing:
        sys.exit(f"GStreamer lacks {', '.join(missing)}")
    if arguments.file is not None:
        cameras = [Camera(FILE.format(path=arguments.file), arguments.size)]
    else:
        ball = BALL.format(fps=arguments.fps, gop_size=max(1, arguments.fps // 2))
        cameras = [Camera(ball, arguments.size) for _ in range(arguments.cameras)]
    if not cameras:
        return
    loop = GLib.MainLoop()
    print(*(camera.port for camera in cameras), flush=True)  # noqa: T201
    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, lambda *_: obey(cameras, loop))
    loop.run()


main()
