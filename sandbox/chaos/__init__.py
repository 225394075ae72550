"""`make chaos`: real workers trading at the sandbox's venues while everything around them fails.

What the venues hold at the end is compared with the order journal, independently of the application's own code.
"""
