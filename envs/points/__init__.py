"""Points that move in a plane towards a hidden goal."""
