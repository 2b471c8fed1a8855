"""Does the heatmap help? Forms of it, trained alike, compared on the same validation people."""
