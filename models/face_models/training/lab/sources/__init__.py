"""Where a study's photos come from; every source answers cut crops with person and light."""
