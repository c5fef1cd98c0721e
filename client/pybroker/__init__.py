"""The SDK: Producer, Consumer and Admin for services, over asyncio."""
