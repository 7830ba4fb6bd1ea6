"""The function `status`: what people and programs read about models, servers, usage and dead letters."""
