"""What each figure and picture means, and what figures are held against."""
