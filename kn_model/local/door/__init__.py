"""The one port that people call: routes to functions and models, and the proxy behind them."""
