"""Groups in the engine: what their logs say, who holds which sender key, messages out and in (messaging 10)."""
