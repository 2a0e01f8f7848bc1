"""What runs found, and where it is kept: results, the run history, its journals, reports and comparisons. No torch."""
