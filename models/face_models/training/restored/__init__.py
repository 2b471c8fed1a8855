"""What a mask over the lower face hides: found, filled in, and what that does to match and age."""
