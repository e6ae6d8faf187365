//! Component tests over real HTTP.
