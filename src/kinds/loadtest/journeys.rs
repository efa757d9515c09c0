//! The slowest journeys of a minute, whole.
