"""The report of an evaluation or a training: pictures, figures, and a page that holds them all."""

from edgecv.report.report import (
    ClassificationReport,
    Report,
    SegmentationReport,
    write_report,
)

__all__ = ["ClassificationReport", "Report", "SegmentationReport", "write_report"]
