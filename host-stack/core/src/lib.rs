//! Pure TCP functions shared by the host stack and the golden model.
