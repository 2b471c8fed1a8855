"""What a spoilt photo costs."""
