"""Take one RTSP recording on loopback: /usr/bin/python3 rtsp_recorder.py FILE [CERTIFICATE KEY].

Debian's own Python runs this, it needs python3-gi and gir1.2-gst-rtsp-server-1.0. It prints the
port as soon as it listens, writes what is pushed to /cam as raw H.264 to FILE, and ends when its
standard input does. With a certificate and its key it listens by TLS.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402  # after the versions are chosen

Gst.init(None)
elements = ("rtph264depay", "h264parse", "filesink")
missing = [name for name in elements if Gst.ElementFactory.find(name) is None]
if missing:
    sys.exit(f"GStreamer lacks {', '.join(missing)}")

if len(sys.argv) > 1:
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")  # any free port
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_launch(
        "( rtph264depay name=depay0 ! h264parse ! video/x-h264,stream-format=byte-stream "
        f'! filesink location="{sys.argv[1]}" buffer-mode=unbuffered async=false sync=false )'
    )
    server.get_mount_points().add_factory("/cam", factory)
    if sys.argv[2:]:
        auth = GstRtspServer.RTSPAuth()
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*sys.argv[2:]))
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "anyone")
        auth.set_default_token(token)
        may = GstRtspServer.RTSPPermissions()
        for permission in ("ACCESS", "CONSTRUCT"):
            name = getattr(GstRtspServer, f"RTSP_PERM_MEDIA_FACTORY_{permission}")
            may.add_permission_for_role("anyone", name, True)  # noqa: FBT003
        factory.set_permissions(may)
        server.set_auth(auth)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.IO_HUP, lambda *_: loop.quit())
    print(server.get_bound_port(), flush=True)  # noqa: T201
    loop.run()
