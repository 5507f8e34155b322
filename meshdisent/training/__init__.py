"""Recipes, and the one loop that trains whatever is trained."""
