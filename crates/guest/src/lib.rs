//! gust-guest
