"""The lab's drawn cards, their items and wordings, and the splits made of them."""
