"""Do two forms of a model do the same?"""
