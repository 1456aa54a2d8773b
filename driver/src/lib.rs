//! The miniport: the chimney functions over trait Bus.
