//! gust-server
