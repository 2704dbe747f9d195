"""The measurements of dev/fleet-speed, one module each, and what they need: a broker, a fleet, an outside reader."""
