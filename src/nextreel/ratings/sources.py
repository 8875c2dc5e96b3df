"""What a ratings table looks like."""

#: The columns of every ratings table.
COLUMNS = ("user_id", "content_id", "rating", "timestamp", "source")

#: What a table that has simulated ratings has besides: what ranking learns from in the place of the rating, where that
#: is not the rating itself.
LIKING = "liking"

#: Where a rating comes from: somebody gave it, it stands for what they did, or preferences let expect it.
SOURCES = ("observed", "implicit", "simulated")
