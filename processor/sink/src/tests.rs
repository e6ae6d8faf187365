//! The sink over real ports.
