"""What all functions share: settings, app, problems, database, events with outbox and inbox, objects, identity, log."""
