"""What is said to a person in danger: written, never generated, because it must not depend on a model. Pure.

Warm and direct, contacts first, a question about safety, and the offer to go on talking; never a refusal, never the end.
"""

from __future__ import annotations

from typing import Literal

from .contacts import Contact

Audience = Literal["imminent", "high", "third_person", "eating"]

# {contacts} becomes "call 988 (988 Suicide & Crisis Lifeline (US)), or …".
REPLIES: dict[Audience, tuple[str, ...]] = {
    "imminent": (
        "I'm really worried about you, and I'm glad you told me. Please reach a person right now: {contacts}. "
        "If you can, move away from anything you could hurt yourself with, and go where somebody else is. Are you safe this minute?",
        "You matter, and this moment can pass. Please contact somebody now: {contacts}. "
        "Is there someone nearby who could come and stay with you? I'm here while you reach them.",
        "Please don't stay alone with this. Right now: {contacts}. "
        "Can you put some distance between you and what you were going to use? Tell me that you are reaching out, and keep writing to me.",
    ),
    "high": (
        "I'm really glad you told me. You don't have to carry this alone: {contacts}. "
        "Are you safe right now, or are you thinking of acting on it? Whatever the answer, you can tell me.",
        "Thank you for trusting me with this. People who understand it are there at any hour: {contacts}. "
        "Are you thinking of hurting yourself today? I'd like to keep talking with you.",
        "That is a heavy thing to live with, and you deserve more help than I can be: {contacts}. "
        "Do you feel safe at the moment? Is there anybody you could tell, too? I'm still here.",
    ),
    "third_person": (
        "It's good that you take this seriously. If they may act on it now, call the emergency number and don't leave them alone. "
        "You can both get help here: {contacts}. Are they safe at the moment, and are you all right yourself?",
        "That's frightening, and you don't have to handle it alone: {contacts}. These lines also advise people who worry about someone. "
        "Asking them directly about suicide does no harm. Do you know where they are right now?",
    ),
    "eating": (
        "I'm glad you told me, that isn't easy to say. You deserve care with this: {contacts}. "
        "A doctor should look at it soon, too. Are you safe today, and is there someone you could tell?",
        "Thank you for saying it out loud. Nobody has to fight that alone: {contacts}. "
        "Do you feel faint or in pain right now? If so, please get medical help today. I'm still here to talk.",
    ),
}
TRANSLATED: dict[str, tuple[str, ...]] = {
    "es": (
        "Me alegra que me lo cuentes. No tienes que pasar por esto a solas: {contacts}. Si estás en peligro ahora, llama al número de "
        "emergencias. ¿Estás a salvo en este momento? Sigo aquí contigo.",
    ),
    "fr": (
        "Merci de me l'avoir dit. Tu n'as pas à porter ça tout seul : {contacts}. Si tu es en danger maintenant, appelle les urgences. "
        "Es-tu en sécurité en ce moment ? Je reste là.",
    ),
    "de": (
        "Ich bin froh, dass du mir das sagst. Du musst das nicht allein tragen: {contacts}. Wenn du gerade in Gefahr bist, ruf den Notruf. "
        "Bist du in diesem Moment sicher? Ich bin weiter hier.",
    ),
    "pt": (
        "Que bom que você me contou. Você não precisa passar por isso sem ajuda: {contacts}. Se estiver em perigo agora, ligue para a "
        "emergência. Você está em segurança neste momento? Continuo aqui.",
    ),
    "hi": ("अच्छा हुआ कि आपने मुझे बताया। आप इसमें अकेले नहीं हैं: {contacts}। अगर अभी ख़तरा है, तो 112 पर कॉल करें। क्या आप इस समय सुरक्षित हैं? मैं यहीं हूँ।",),
}


def crisis_reply(audience: Audience, language: str, contacts: tuple[Contact, ...], *, earlier: int) -> str:
    """Return the reply.

    Args:
        audience: to whom it speaks.
        language: of the person's statement.
        contacts: who can help; all of them are named.
        earlier: crisis replies that the conversation already has: not the same block every time.
    """
    variants = TRANSLATED.get(language) or REPLIES[audience]
    named = ", ".join(f"{contact['contact']} ({contact['name']})" for contact in contacts)
    return variants[earlier % len(variants)].format(contacts=named)
