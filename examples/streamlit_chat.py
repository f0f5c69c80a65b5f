"""A chat page in Streamlit, as a thin client of CodeHearth.

    pip install streamlit openai
    streamlit run streamlit_chat.py

The model runs in the server, once, for every tab; this page holds nothing but the conversation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import streamlit as st
from openai import OpenAI, OpenAIError

URL = os.environ.get("HEARTH_URL", "http://127.0.0.1:8765").rstrip("/")
GREETING = "有什么可以帮您的？"

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("HEARTH_API_KEY", "none"))


def models() -> list[str]:
    """The models that can chat, those in memory first as the server lists them."""
    try:
        return [model.id for model in client.models.list()]
    except OpenAIError as error:
        st.error(f"连接不到 {URL}：{error}\n\n请先运行 `hearth serve`。")
        st.stop()


def answer(model: str, messages: list[dict[str, str]]) -> Iterator[str]:
    """The pieces as they come. Leaving the page closes the connection, which stops the model."""
    stream = client.chat.completions.create(
        model=model,
        messages=messages,  # type: ignore[arg-type]
        max_tokens=max_tokens,
        top_p=top_p,
        temperature=temperature,
        stream=True,
    )
    for chunk in stream:
        if chunk.choices and (piece := chunk.choices[0].delta.content):
            yield piece


st.set_page_config(page_title="CodeHearth", page_icon="🔥")
st.title("CodeHearth")

with st.sidebar:
    model = st.selectbox("模型", models())
    max_tokens = st.slider("最大生成长度", 32, 16000, 512)
    top_p = st.slider("Top P", 0.0, 1.0, 0.8, step=0.01)
    temperature = st.slider("Temperature", 0.0, 1.0, 0.7, step=0.01)
    system = st.text_area("系统提示词", "You are a helpful assistant.")
    if st.button("清空对话"):
        st.session_state.messages = []

messages = st.session_state.setdefault("messages", [])

st.chat_message("assistant").markdown(GREETING)
for message in messages:
    st.chat_message(message["role"]).markdown(message["content"])

if question := st.chat_input("输入问题，回车发送"):
    messages.append({"role": "user", "content": question})
    st.chat_message("user").markdown(question)
    told = [{"role": "system", "content": system}] if system.strip() else []
    with st.chat_message("assistant"):
        try:
            text = st.write_stream(answer(model, told + messages))
        except OpenAIError as error:
            messages.pop()
            st.error(str(error))
        else:
            messages.append({"role": "assistant", "content": str(text)})
