"""The report of an evaluation or a training: pictures, figures, and a page that holds them all."""

from edgecv.report.report import ClassificationReport, Report, write_report

__all__ = ["ClassificationReport", "Report", "write_report"]
