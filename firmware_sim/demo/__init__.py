"""`shuichi demo`: the whole line on one machine, each part a process of its own.

It sees of the gateway and the cloud what anybody can see: their messages, their files, and what
their commands print.
"""
