"""Pages for people: plain HTML that works without JavaScript, at 320 pixels and with a keyboard."""
