"""Pictures of curves: laid out once as shapes, written as SVG or PNG."""
