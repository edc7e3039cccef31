"""The worked model project: will a flight out of New York, just leaving the gate, arrive more than 15 minutes late?

`landing` writes the raw tables of 2013's 336,776 flights where a producer would deliver them; `project/` is the model
project itself, which `towpath init` starts others from.
"""
