//! gust-proto
