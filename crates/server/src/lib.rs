//! gust-server

pub mod config;
