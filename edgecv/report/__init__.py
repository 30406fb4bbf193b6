"""The report of an evaluation or a training: pictures, figures, and a page that holds them all."""

from edgecv.report.report import Report, write_report

__all__ = ["Report", "write_report"]
