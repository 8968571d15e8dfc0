"""The commands, by what they are for: parse, one call into the layers below, render."""
