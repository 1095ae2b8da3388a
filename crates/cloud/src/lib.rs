//! gust-cloud
