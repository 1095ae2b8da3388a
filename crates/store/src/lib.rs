//! gust-store
