//! gust-core
