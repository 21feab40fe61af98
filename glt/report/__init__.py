"""The report: records and tickets as one page that needs no network."""
